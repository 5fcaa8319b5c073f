"""Conversion of implicit VR and deflated data sets, and its proof."""

from __future__ import annotations

import io
import struct
import zlib

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.support.readers import decoded
from tests.support.samples import (
    SEQUENCE_END,
    TARGETS,
    UNDEFINED,
    data_set,
    element,
    file_of,
    image,
    image_elements,
    implicit_element,
    item,
    part10,
    wheel_files,
    with_furniture,
)
from transcoder import Reason, Settings, Transcoder
from transcoder.input.explicit_vr import to_explicit
from transcoder.outcome import KeptError
from transcoder.proof.data_set_equality import prove_equal


def _implicit_files() -> list[str]:
    found = []
    for name, path in wheel_files().items():
        raw = path.read_bytes()
        if raw[128:132] == b"DICM" and b"1.2.840.10008.1.2\0" in raw[:400]:
            found.append(name)
    return found


def _body(raw: bytes) -> bytes:
    return raw[144 + struct.unpack_from("<L", raw, 140)[0] :]


IMPLICIT = [
    name
    for name in _implicit_files()
    if not {"rtplan_truncated", "no_meta_group_length"} & set(name.split("/")[-1].split("."))
]


@pytest.mark.parametrize("name", IMPLICIT)
def test_implicit_files_read_the_same_to_pydicom_once_explicit(name: str) -> None:
    raw = wheel_files()[name].read_bytes()
    explicit = to_explicit(memoryview(_body(raw)))
    prove_equal(memoryview(_body(raw)), memoryview(explicit))
    before = pydicom.dcmread(io.BytesIO(raw))
    after = pydicom.dcmread(io.BytesIO(file_of(explicit)))
    assert _plain(before) == _plain(after)


def _plain(ds: Dataset) -> list[object]:
    """Tags and values, items as lists of their own; a VR may have become UN, and then pydicom gives bytes."""
    plain: list[object] = []
    for elem in ds:
        if elem.tag.element == 0:
            continue  # retired group lengths count other bytes now
        if elem.VR == "SQ":
            plain.append((elem.tag, [_plain(one) for one in elem.value]))
        elif not elem.tag.is_private:
            plain.append((elem.tag, elem.VR, elem.value))
        else:
            plain.append(elem.tag)
    return plain


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("target", TARGETS)
def test_other_little_endian_syntaxes_come_back_bit_exact(syntax: str, target: str) -> None:
    pixels = image(stored=12, signed=True, rows=128, columns=96)
    original = part10(with_furniture(data_set(pixels, stored=12)), syntax)
    outcome = Transcoder(Settings(default=target)).transcode(original, "http")
    if outcome.reason is Reason.NOT_SMALLER:
        # Deflate may have been the better codec; keeping is right.
        assert syntax == DeflatedExplicitVRLittleEndian
        return
    assert outcome.dicom is not None, outcome.detail
    for name, raw in decoded(outcome.dicom, target).items():
        assert raw[: pixels.nbytes] == pixels.tobytes(), name
    before, after = pydicom.dcmread(io.BytesIO(original)), pydicom.dcmread(io.BytesIO(outcome.dicom))
    del before.PixelData, after.PixelData
    assert _plain(before) == _plain(after)
    assert before[0x00291001].value == after[0x00291001].value


def test_ambiguous_vrs_follow_the_pixel_representation_around_them() -> None:
    signed, unsigned = struct.pack("<H", 1), struct.pack("<H", 0)
    smallest = implicit_element(0x00280106, b"\xff\xff")
    representation = 0x00280103
    inner_own = item(implicit_element(representation, unsigned) + smallest)
    inner_inherits = item(smallest)
    body = (
        implicit_element(0x00081140, inner_own + inner_inherits) + implicit_element(representation, signed) + smallest
    )
    ds = pydicom.dcmread(io.BytesIO(file_of(to_explicit(memoryview(body)))))
    assert ds.SmallestImagePixelValue == -1
    own, inherits = ds[0x00081140].value
    assert (own.SmallestImagePixelValue, inherits.SmallestImagePixelValue) == (0xFFFF, -1)


def test_an_ambiguous_vr_without_pixel_representation_is_refused() -> None:
    with pytest.raises(KeptError) as caught:
        to_explicit(memoryview(implicit_element(0x00280106, b"\0\0")))
    assert caught.value.reason is Reason.CONVERSION


@pytest.mark.parametrize(
    ("tag", "value", "vr"),
    [
        (0x00100010, b"a^b ", b"PN"),
        (0x00100010, b"x" * 70_000, b"UN"),  # too long for a 16-bit length
        (0x00280010, b"\1\2\3\4\5\6", b"US"),
        (0x00280010, b"\1\2\3", b"UN"),  # not a whole number of values
        (0x00091010, b"ab", b"UN"),  # private, and nobody's
        (0x00090010, b"ME", b"LO"),  # who reserves the block
        (0x00080009, b"ab", b"UN"),  # no such tag in the dictionary
        (0x60003000, b"\1\2", b"OW"),  # repeating group
        (0x00283006, b"\1\2", b"OW"),  # US or OW
        (0x00100000, b"\4\0\0\0", b"UL"),  # retired group length
    ],
)
def test_the_vr_is_the_dictionarys_where_it_fits(tag: int, value: bytes, vr: bytes) -> None:
    assert to_explicit(memoryview(implicit_element(tag, value)))[4:6] == vr


def test_a_known_private_element_gets_its_vr_and_a_private_sequence_stays_whole() -> None:
    creator = implicit_element(0x00290010, b"SIEMENS CSA HEADER")
    text = implicit_element(0x00291008, b"IMAGE NUM 4 ")
    unknown = implicit_element(
        0x00291099, item(implicit_element(0x00080060, b"CT"), UNDEFINED) + SEQUENCE_END, UNDEFINED
    )
    explicit = to_explicit(memoryview(creator + text + unknown))
    assert explicit == (
        element(0x00290010, b"LO", b"SIEMENS CSA HEADER")
        + element(0x00291008, b"CS", b"IMAGE NUM 4 ")
        + element(0x00291099, b"UN", unknown[8:], UNDEFINED)
    )


def test_retired_group_lengths_count_the_longer_headers() -> None:
    group = implicit_element(0x00081140, item(implicit_element(0x00081155, b"1.2 ")))
    body = implicit_element(0x00080000, struct.pack("<L", len(group))) + group + implicit_element(0x00100010, b"a ")
    explicit = to_explicit(memoryview(body))
    prove_equal(memoryview(body), memoryview(explicit))
    (counted,) = struct.unpack_from("<L", explicit, 8)
    assert explicit[12 + counted :] == element(0x00100010, b"PN", b"a ")


@pytest.mark.parametrize("where", ["tag", "value", "nested value", "missing", "more"])
def test_the_proof_finds_a_difference_anywhere(where: str) -> None:
    inner = item(implicit_element(0x00081155, b"1.2 "), UNDEFINED)
    body = implicit_element(0x00080060, b"CT") + implicit_element(0x00081140, inner + SEQUENCE_END, UNDEFINED)
    explicit = bytearray(to_explicit(memoryview(body)))
    prove_equal(memoryview(body), memoryview(bytes(explicit)))
    if where == "tag":
        explicit[2] ^= 1
    elif where == "value":
        explicit[8] ^= 1
    elif where == "nested value":
        explicit[explicit.index(b"1.2 ")] ^= 1
    elif where == "missing":
        del explicit[:10]
    else:
        explicit += element(0x00100010, b"PN", b"a ")
    with pytest.raises(KeptError):
        prove_equal(memoryview(body), memoryview(bytes(explicit)))


def _deflated(body: bytes, tail: bytes = b"") -> bytes:
    squeezer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return file_of(squeezer.compress(body) + squeezer.flush() + tail, DeflatedExplicitVRLittleEndian)


PLAIN = image_elements(64, 64, bytes(range(64)) * 64)


@pytest.mark.parametrize(
    ("dicom", "reason"),
    [
        (_deflated(PLAIN), Reason.NOT_SMALLER),
        (_deflated(PLAIN, b"\0"), Reason.NOT_SMALLER),  # padded to an even length
        (_deflated(PLAIN, b"garbage"), Reason.INFLATE),
        (_deflated(PLAIN)[:-9], Reason.INFLATE),
        (file_of(b"not deflated", DeflatedExplicitVRLittleEndian), Reason.INFLATE),
        (_deflated(PLAIN + element(0xFFFCFFFC, b"OB", bytes(2_000_000))), Reason.INFLATE),  # a bomb, for its bound
    ],
)
def test_deflated_data_sets_are_inflated_within_bounds(dicom: bytes, reason: Reason) -> None:
    settings = Settings(default="JPEGLSLossless", maximum_inflated_bytes=1_500_000)
    assert Transcoder(settings).transcode(dicom, "http").reason is reason


def test_a_gzip_trailer_that_agrees_is_let_pass() -> None:
    trailer = struct.pack("<LL", zlib.crc32(PLAIN), len(PLAIN))
    transcoder = Transcoder(Settings(default="JPEGLSLossless"))
    assert transcoder.transcode(_deflated(PLAIN, trailer), "http").reason is Reason.NOT_SMALLER
    assert transcoder.transcode(_deflated(PLAIN, trailer[::-1]), "http").reason is Reason.INFLATE


def test_big_endian_with_a_value_of_unknown_byte_order_is_kept_and_said_so() -> None:
    ds = data_set(image())
    ds.add_new(0x00291010, "UN", b"\1\2")
    outcome = Transcoder(Settings(default="RLELossless")).transcode(part10(ds, ExplicitVRBigEndian), "http")
    assert outcome.reason is Reason.BIG_ENDIAN
    assert "(0029,1010)" in outcome.detail


def test_items_may_be_of_either_length() -> None:
    ds = data_set(image(64, 64, stored=12), stored=12)
    ds.ReferencedImageSequence = Sequence([Dataset(), Dataset()])
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2"
    ds.ReferencedImageSequence[1].is_undefined_length_sequence_item = True
    raw = part10(ds, ImplicitVRLittleEndian)
    outcome = Transcoder(Settings(default="JPEGLSLossless")).transcode(raw, "http")
    assert outcome.reason is Reason.TRANSCODED, outcome.detail
