"""Which files the guard refuses, and above all which it does not."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path

import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from guard import Guard, Reason, Settings
from tests.support.nested_files import (
    NESTS,
    UNDEFINED,
    explicit_undefined,
    file_around,
    implicit_undefined,
    nested_file,
)
from tests.support.samples import data_set, file_of, image, part10, wheel, wheel_files, with_furniture

DEEPEST = Settings().max_sequence_depth
ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)


def refused(dicom: bytes, settings: Settings | None = None) -> Reason | None:
    guard = Guard(settings or Settings())
    line = guard.refusal(dicom, "http")
    (counted,) = [reason for reason, count in guard.status().refused.items() if count] or [None]
    assert bool(line) == (counted is not None)
    return counted


def long_element(vr: bytes, length: int, value: bytes = b"", tag: tuple[int, int] = (0x0029, 0x1010)) -> bytes:
    return struct.pack("<HH2sHL", *tag, vr, 0, length) + value


@pytest.mark.parametrize("name", NESTS)
def test_as_many_sequences_as_allowed_pass_and_one_more_does_not(name: str) -> None:
    assert refused(nested_file(name, DEEPEST)) is None
    assert refused(nested_file(name, DEEPEST + 1)) is Reason.TOO_DEEP
    assert refused(nested_file(name, 5), Settings(max_sequence_depth=5)) is None
    assert refused(nested_file(name, 6), Settings(max_sequence_depth=5)) is Reason.TOO_DEEP


@pytest.mark.parametrize("name", NESTS)
def test_a_hundred_thousand_of_them_are_no_matter(name: str) -> None:
    assert refused(nested_file(name, 100_000)) is Reason.TOO_DEEP


@pytest.mark.parametrize("name", NESTS)
def test_a_nest_that_is_cut_short_is_as_deadly(name: str) -> None:
    whole = nested_file(name, 100)
    for length in range(len(whole) * 2 // 3, len(whole), 7):
        # Deflated, so short a stream may give nothing before its end.
        assert refused(whole[:length]) is Reason.TOO_DEEP or name == "deflated", length


NEST = explicit_undefined(60)
BODY = file_around(NEST, ExplicitVRLittleEndian)
START = BODY.index(b"\x08\x00\x16\x00")
DISGUISES = {
    # DCMTK reads all of these, native Orthanc dies of each.
    "no preamble": BODY[132:],
    "no file meta information": BODY[START:],
    "implicit without file meta information": nested_file("implicit, undefined length", 60)[START - 2 :].lstrip(b"\0"),
    "DICM, no file meta information": BODY[:132] + BODY[START:],
    "another transfer syntax": file_around(NEST, JPEGBaseline8Bit),
    "a group length that stops short": BODY.replace(b"UL\4\0" + BODY[140:144], b"UL\4\0\0\0\0\0", 1),
    "after pixel data": file_around(
        long_element(b"OW", 4, b"\0\0\0\0", (0x7FE0, 0x0010)) + NEST, ExplicitVRLittleEndian
    ),
    "within an item of pixel data's tag": file_around(
        explicit_undefined(60, tag=(0x7FE0, 0x0010)), ExplicitVRLittleEndian
    ),
    "sequences that claim more than the file has": file_around(
        (long_element(b"SQ", 0x7FFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0x7FFFFFFF)) * 60, ExplicitVRLittleEndian
    ),
    "a VR that is none": file_around(explicit_undefined(60, vr=b"XX"), ExplicitVRLittleEndian),
    "items side by side around it": file_around(
        long_element(b"SQ", UNDEFINED) + (ITEM + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)) * 50 + ITEM + NEST,
        ExplicitVRLittleEndian,
    ),
    "false delimiters in values": file_around(
        (
            long_element(b"SQ", UNDEFINED)
            + ITEM
            + long_element(b"OB", 16, struct.pack("<HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0))
        )
        * 60,
        ExplicitVRLittleEndian,
    ),
}


@pytest.mark.parametrize("name", DISGUISES)
def test_a_nest_in_disguise_is_refused(name: str) -> None:
    assert refused(DISGUISES[name]) is Reason.TOO_DEEP


def test_many_items_side_by_side_are_not_deep() -> None:
    items = (ITEM + struct.pack("<HHL", 0xFFFE, 0xE00D, 0)) * 1000
    ended = long_element(b"SQ", UNDEFINED, items + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0))
    assert refused(file_around(ended, ExplicitVRLittleEndian)) is None
    assert refused(file_around(long_element(b"SQ", len(items), items), ExplicitVRLittleEndian)) is None
    frames = b"".join(struct.pack("<HHLH", 0xFFFE, 0xE000, 2, 7) for _ in range(1000))
    pixels = long_element(b"OB", UNDEFINED, frames + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0), (0x7FE0, 0x0010))
    assert refused(file_around(pixels, JPEGBaseline8Bit)) is None


@pytest.mark.parametrize(
    ("vr", "tag"), [(b"OW", (0x7FE0, 0x0010)), (b"OB", (0x0029, 0x1010)), (b"UN", (0x0029, 0x1010))]
)
def test_a_nest_among_pixels_is_only_pixels(vr: bytes, tag: tuple[int, int]) -> None:
    nest = explicit_undefined(100)
    assert refused(file_around(long_element(vr, len(nest), nest, tag), ExplicitVRLittleEndian)) is None
    nest = implicit_undefined(100)
    in_pixels = struct.pack("<HHL", 0x7FE0, 0x0010, len(nest)) + nest
    assert refused(file_around(in_pixels, ImplicitVRLittleEndian)) is None


def test_fragments_of_compressed_pixel_data_are_only_bytes() -> None:
    nest = explicit_undefined(100)
    fragment = struct.pack("<HHL", 0xFFFE, 0xE000, len(nest)) + nest
    pixels = long_element(b"OB", UNDEFINED, fragment + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0), (0x7FE0, 0x0010))
    assert refused(file_around(pixels, JPEGBaseline8Bit)) is None


@pytest.mark.parametrize("vr", [b"OB", b"OW", b"UT", b"UN", b"UC"])
def test_a_value_that_claims_to_be_far_longer_than_the_file_is_refused(vr: bytes) -> None:
    claims = long_element(vr, 0xFFFFFFF0, b"x" * 100)
    assert refused(file_around(claims, ExplicitVRLittleEndian)) is Reason.BEYOND_THE_FILE
    in_item = long_element(b"SQ", UNDEFINED) + ITEM + claims
    assert refused(file_around(in_item, ExplicitVRLittleEndian)) is Reason.BEYOND_THE_FILE
    implicit = struct.pack("<HHL", 0x0029, 0x1010, 0x7FFFFFF0)
    assert refused(file_around(implicit, ImplicitVRLittleEndian)) is Reason.BEYOND_THE_FILE
    deflated = file_around(claims, DeflatedExplicitVRLittleEndian)
    assert refused(deflated) is Reason.BEYOND_THE_FILE
    assert refused(file_around(long_element(vr, 1 << 20, b"x" * 100), ExplicitVRLittleEndian)) is None


def test_such_a_claim_in_the_file_meta_information_is_refused_too() -> None:
    assert (
        refused(bytes(128) + b"DICM" + long_element(b"OB", 0xFFFFFFF0, b"x", (0x0002, 0x0102)))
        is Reason.BEYOND_THE_FILE
    )


def test_a_damaged_tag_in_the_file_meta_information_makes_no_claim() -> None:
    """DCMTK goes on where the group length says; native Orthanc stores this file (mutant 1517 of seed 23)."""
    dicom = bytearray(wheel("MR_small_implicit.dcm"))
    dicom[158:160] = b"\x0e\x94"  # of (0002,0002), Media Storage SOP Class UID
    assert refused(bytes(dicom)) is None


def test_a_claim_of_a_foreign_element_in_the_file_meta_information_is_refused() -> None:
    """Before the end that the group length names, where DCMTK reads elements of any group."""
    dicom = bytearray(wheel("MR_small_implicit.dcm"))
    dicom[158:168] = struct.pack("<HH2sHH", 0x940E, 2, b"OB", 0, 0)
    dicom[166:170] = struct.pack("<L", 0x7FFFFFFE)
    assert refused(bytes(dicom)) is Reason.BEYOND_THE_FILE


def test_a_group_length_that_leads_nowhere_hides_no_claim() -> None:
    claims = long_element(b"OB", 0xFFFFFFF0, b"x" * 100)
    dicom = bytearray(file_around(claims, ExplicitVRLittleEndian))
    assert dicom[132:140] == b"\x02\0\0\0UL\4\0"
    (length,) = struct.unpack_from("<L", dicom, 140)
    dicom[140:144] = struct.pack("<L", length + 50)
    assert refused(bytes(dicom)) is Reason.BEYOND_THE_FILE


def test_a_deflate_bomb_is_refused_and_not_held_in_memory() -> None:
    empty = file_around(b"", DeflatedExplicitVRLittleEndian)
    head = empty[: empty.index(b".99") + 3]
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = head + b"".join(deflate.compress(bytes(1 << 20)) for _ in range(64)) + deflate.flush()
    assert refused(bomb, Settings(max_inflated_bytes=1 << 25)) is Reason.INFLATES
    # Zeros are elements (0000,0000) without a VR, eight bytes each.
    assert refused(bomb, Settings(max_inflated_bytes=1 << 26, max_elements=1000)) is Reason.TOO_MANY


def test_more_elements_than_orthanc_could_ever_store_are_refused_and_no_others() -> None:
    for element in (long_element(b"UN", 0), struct.pack("<HH2sH", 0x0011, 0x1010, b"LO", 0)):
        dicom = file_around(element * 2000, ExplicitVRLittleEndian)
        assert refused(dicom, Settings(max_elements=3000)) is None
        assert refused(dicom, Settings(max_elements=1000)) is Reason.TOO_MANY
    fragments = struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 2000 + struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    pixels = file_around(long_element(b"OB", UNDEFINED, fragments, (0x7FE0, 0x0010)), JPEGBaseline8Bit)
    assert refused(pixels, Settings(max_elements=3000)) is None
    assert refused(pixels, Settings(max_elements=1000)) is Reason.TOO_MANY


NATIVE_REFUSES_TOO = {
    # Not DICOM at all, or explicit VR is declared and something else follows: read as elements, they claim gigabytes.
    "SC_rgb_jpeg.dcm",
    "no_meta.dcm",
    "zipMR.gz",
}


def test_of_real_files_only_those_are_refused_that_orthanc_refuses() -> None:
    found = {name for name, path in wheel_files().items() if refused(path.read_bytes()) is not None}
    dicom = {Path(name).name for name in found if name.endswith((".dcm", ".gz"))}
    assert dicom == NATIVE_REFUSES_TOO
    assert not [name for name in found if "DICOMDIR" in name]


@pytest.mark.parametrize("dicom", [b"", b"\0", b"DICM", bytes(131), bytes(128) + b"DICM", b"\xfe\xff\x00\xe0" * 100])
def test_what_is_no_dicom_file_is_none_of_its_business(dicom: bytes) -> None:
    assert refused(dicom) is None


def test_a_good_image_cut_off_anywhere_is_none_of_its_business() -> None:
    whole = part10(with_furniture(data_set(image(24, 24, allocated=8))))
    assert {refused(whole[:length]) for length in range(len(whole))} == {None}


def test_one_line_is_logged_and_the_answer_says_why(caplog: pytest.LogCaptureFixture) -> None:
    guard = Guard(Settings())
    with caplog.at_level(logging.INFO):
        line = guard.refusal(BODY, "cstore")
    assert line == "sequences nested too deeply: more than 32 (IngestGuard.MaxSequenceDepth)"
    assert [record.getMessage() for record in caplog.records] == [
        f"refused {len(BODY)} bytes received by cstore: {line}"
    ]
    guard.refusal(file_of(b""), "http")
    status = guard.status()
    assert (status.looked_at, status.refused[Reason.TOO_DEEP], status.suspected) == (2, 1, 0)
    assert 0 < status.longest_ns <= status.total_ns


def test_its_own_failure_refuses_nothing(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("none left")

    monkeypatch.setattr("guard.guard.Received", fail)
    assert refused(BODY) is None
    assert [record.getMessage() for record in caplog.records] == ["MemoryError: none left"]
