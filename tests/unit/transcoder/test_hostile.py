"""Hostile files: nothing is raised, nothing is endless, and no result is larger than the file received."""

from __future__ import annotations

import struct

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tests.support.samples import (
    SEQUENCE_END,
    UNDEFINED,
    data_set,
    element,
    file_of,
    image,
    image_elements,
    implicit_element,
    item,
    part10,
    wheel,
    with_furniture,
)
from transcoder import Outcome, Reason, Settings, Transcoder

TRANSCODER = Transcoder(Settings(default="HTJ2KLossless"))


def _sane(dicom: bytes) -> Outcome:
    outcome = TRANSCODER.transcode(dicom, "http")
    assert outcome.reason is not Reason.ERROR, outcome.detail
    if outcome.dicom is None:
        assert not outcome.transcoded
        assert outcome.bytes_out == outcome.bytes_in == len(dicom)
    else:
        assert outcome.transcoded
        assert len(outcome.dicom) < len(dicom)
    return outcome


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_file_cut_off_anywhere_is_kept(syntax: str) -> None:
    whole = part10(with_furniture(data_set(image(24, 24, allocated=8) // 64)), syntax)
    complete = _sane(whole)
    assert complete.reason in {Reason.TRANSCODED, Reason.NOT_SMALLER}
    pixels = whole.rindex(b"\xe0\x7f\x10\x00")
    for length in range(len(whole)):
        outcome = _sane(whole[:length])
        # Without the padding after it, or with an end between elements, the pixel data may still be whole.
        assert length > pixels or not outcome.transcoded


def test_a_small_file_that_claims_a_large_image_reserves_nothing_for_it() -> None:
    us = struct.Struct("<H").pack
    claim = {"Rows": element(0x00280010, b"US", us(65535)), "Columns": element(0x00280011, b"US", us(65535))}
    dicom = file_of(image_elements(1, 1, b"\0\0", **claim))
    assert len(dicom) < 910
    assert _sane(dicom).reason is Reason.PIXEL_LENGTH
    frames = element(0x00280008, b"IS", b"999999999999")
    assert _sane(file_of(image_elements(1, 1, b"\0\0", Frames=frames, **claim))).reason is Reason.PIXEL_LENGTH


def _explicit_nest(depth: int) -> bytes:
    opening = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, UNDEFINED
    )
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + SEQUENCE_END
    return opening * depth + closing * depth


def _implicit_nest(depth: int) -> bytes:
    opening = struct.pack("<HHL", 0x0008, 0x1140, UNDEFINED) + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    closing = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) + SEQUENCE_END
    return opening * depth + closing * depth


def _implicit_nest_of_defined_length(depth: int) -> bytes:
    size = 16 * depth
    return b"".join(
        struct.pack("<HHLHHL", 0x0008, 0x1140, size - 16 * n - 8, 0xFFFE, 0xE000, size - 16 * n - 16)
        for n in range(depth)
    )


def _explicit_image(before: bytes) -> bytes:
    return file_of(before + image_elements(64, 64, bytes(4096)))


def _implicit_image(before: bytes) -> bytes:
    us = struct.Struct("<H").pack
    numbers = {
        0x00280002: 1,
        0x00280010: 64,
        0x00280011: 64,
        0x00280100: 8,
        0x00280101: 8,
        0x00280102: 7,
        0x00280103: 0,
    }
    body = b"".join(implicit_element(tag, us(value)) for tag, value in numbers.items())
    photometric = implicit_element(0x00280004, b"MONOCHROME2 ")
    return file_of(before + body + photometric + implicit_element(0x7FE00010, bytes(4096)), ImplicitVRLittleEndian)


@pytest.mark.parametrize("depth", [1000, 100_000])
@pytest.mark.parametrize(
    ("nest", "around"),
    [
        (_explicit_nest, _explicit_image),
        (_implicit_nest, _implicit_image),
        (_implicit_nest_of_defined_length, _implicit_image),
    ],
)
def test_deep_nesting_is_kept_and_said_so(nest: object, around: object, depth: int) -> None:
    assert callable(nest)
    assert callable(around)
    assert _sane(around(nest(3))).reason is Reason.TRANSCODED
    assert _sane(around(nest(depth))).reason is Reason.TOO_DEEP


def test_deep_nesting_of_defined_length_is_stepped_over_in_explicit_vr() -> None:
    body = b""
    for _ in range(300):
        body = element(0x00081140, b"SQ", item(body))
    assert _sane(_explicit_image(body)).reason is Reason.TRANSCODED


@pytest.mark.parametrize("length", [1, 2**16, 2**31 - 1, 2**31, 2**32 - 2, 2**32 - 1])
@pytest.mark.parametrize("vr", [b"OB", b"OW", b"SQ", b"UN", b"UT"])
def test_lengths_beyond_the_file_are_kept(vr: bytes, length: int) -> None:
    lie = element(0x00091010, vr, b"", length)
    assert not _sane(file_of(image_elements(64, 64, bytes(4096)) + lie)).transcoded
    assert not _sane(file_of(lie)).transcoded


@settings(max_examples=400, deadline=None)
@example(b"")
@given(st.binary(max_size=600))
def test_random_bytes_are_kept(noise: bytes) -> None:
    assert not _sane(noise).transcoded
    assert not _sane(b"\0" * 128 + b"DICM" + noise).transcoded
    _sane(file_of(noise))
    _sane(file_of(noise, ImplicitVRLittleEndian))
    _sane(file_of(noise, "1.2.840.10008.1.2.1.99"))


SEEDS = [
    wheel(name)
    for name in (
        "MR_small.dcm",
        "MR_small_implicit.dcm",
        "image_dfl.dcm",
        "nested_priv_SQ.dcm",
        "priv_SQ.dcm",
        "badVR.dcm",
    )
] + [part10(with_furniture(data_set(image(16, 16, samples=3, allocated=8), planar=1)))]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 6), st.binary(max_size=6)), min_size=1, max_size=6
    ),
)
def test_mutations_of_real_files_are_kept_or_transcoded(seed: bytes, edits: list[tuple[float, int, bytes]]) -> None:
    mutant = bytearray(seed)
    for place, dropped, put in edits:
        # Squared: headers are where it hurts, and they come first.
        at = int(place * place * len(mutant))
        mutant[at : at + dropped] = put
    _sane(bytes(mutant))
