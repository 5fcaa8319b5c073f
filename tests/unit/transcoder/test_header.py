"""The scanner: what it finds, what it steps over, and what it refuses."""

from __future__ import annotations

import struct

import pytest

from tests.support.samples import SEQUENCE_END, UNDEFINED, element, file_of, implicit_element, item, wheel
from transcoder.input.file_meta import read_file_meta
from transcoder.input.header import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS, MODALITY, PIXEL_DATA, ROWS, scan
from transcoder.outcome import KeptError, Reason
from transcoder.output.file_meta import with_transfer_syntax

CT = element(0x00080060, b"CS", b"CT")
ROWS_5 = element(0x00280010, b"US", b"\x05\0")
PIXELS = element(0x7FE00010, b"OB", b"\1\2\3\4")


def test_finds_top_level_elements_and_their_offsets() -> None:
    header = scan(memoryview(CT + ROWS_5 + PIXELS), implicit=False)
    assert header.text(MODALITY) == "CT"
    assert header.number(ROWS) == 5
    pixels = header.found[PIXEL_DATA]
    assert bytes(header.view[pixels.value : pixels.end]) == b"\1\2\3\4"
    assert pixels.start == len(CT + ROWS_5)


@pytest.mark.parametrize("item_length", [None, UNDEFINED])
@pytest.mark.parametrize("sequence_length", [None, UNDEFINED])
def test_pixel_data_of_an_icon_does_not_count(sequence_length: int | None, item_length: int | None) -> None:
    inner = element(0x00280010, b"US", b"\x63\0") + element(0x7FE00010, b"OB", b"icon")
    value = item(inner, item_length) + (SEQUENCE_END if sequence_length else b"")
    icon = element(0x00880200, b"SQ", value, sequence_length)
    header = scan(memoryview(CT + ROWS_5 + icon + PIXELS), implicit=False)
    assert header.number(ROWS) == 5
    assert header.found[PIXEL_DATA].start == len(CT + ROWS_5 + icon)
    assert PIXEL_DATA not in scan(memoryview(CT + ROWS_5 + icon), implicit=False).found


def test_a_pixel_data_tag_inside_a_value_does_not_count() -> None:
    decoy = element(0x00204000, b"LT", PIXELS + PIXELS)
    assert PIXEL_DATA not in scan(memoryview(decoy), implicit=False).found


def test_unknown_elements_of_undefined_length_hold_implicit_vr() -> None:
    # PS3.5 6.2.2 note 2; read as explicit VR the inner header would be nonsense.
    inner = implicit_element(
        0x00091001, item(implicit_element(0x00091002, b"abcd"), UNDEFINED) + SEQUENCE_END, UNDEFINED
    )
    unknown = element(0x00091000, b"UN", item(inner, UNDEFINED) + SEQUENCE_END, UNDEFINED)
    assert PIXEL_DATA in scan(memoryview(unknown + PIXELS), implicit=False).found


def test_implicit_vr_is_scanned_as_well() -> None:
    sequence = implicit_element(
        0x00081140, item(implicit_element(0x00080060, b"MR"), UNDEFINED) + SEQUENCE_END, UNDEFINED
    )
    body = implicit_element(0x00080060, b"CT") + sequence + implicit_element(0x00280010, b"\x05\0")
    header = scan(memoryview(body), implicit=True)
    assert (header.text(MODALITY), header.number(ROWS)) == ("CT", 5)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (element(0x00280010, b"US", b"\5\0", 4), Reason.MALFORMED),  # one value, twice its length
        (element(0x00100010, b"PN", b"ab", 40), Reason.MALFORMED),  # a short value that goes beyond the end
        (element(0x7FE00010, b"OW", b"ab", 0xFFFFFFFE), Reason.MALFORMED),  # four gigabytes in a small file
        (CT + b"\x10\0\x10\0P", Reason.MALFORMED),  # ends within a header
        (element(0x00100010, b"XX", b"ab"), Reason.MALFORMED),  # no such VR
        (CT + CT, Reason.MALFORMED),  # which one is it?
        (PIXELS + PIXELS, Reason.MALFORMED),
        (item(b""), Reason.MALFORMED),  # an item in no sequence
        (element(0x00020010, b"UI", b"1.2 "), Reason.MALFORMED),  # file meta information in the data set
        (element(0x00081140, b"SQ", item(CT, UNDEFINED), UNDEFINED), Reason.MALFORMED),  # never ends
        (element(0x00081140, b"SQ", CT + SEQUENCE_END, UNDEFINED), Reason.MALFORMED),  # no item around it
        (element(0x00081140, b"SQ", item(b"", 99) + SEQUENCE_END, UNDEFINED), Reason.MALFORMED),  # item too long
        (element(0x00081030, b"UT", b"abcd", UNDEFINED), Reason.MALFORMED),  # undefined length is not for text
    ],
)
def test_refuses_what_it_cannot_walk(body: bytes, reason: Reason) -> None:
    with pytest.raises(KeptError) as caught:
        scan(memoryview(body), implicit=False)
    assert caught.value.reason is reason


def _nested(depth: int) -> bytes:
    body = b""
    for _ in range(depth):
        body = element(0x00081140, b"SQ", item(body, UNDEFINED) + SEQUENCE_END, UNDEFINED)
    return body


def test_depth_is_bounded() -> None:
    scan(memoryview(_nested(MAXIMUM_DEPTH)), implicit=False)
    with pytest.raises(KeptError) as caught:
        scan(memoryview(_nested(MAXIMUM_DEPTH + 1)), implicit=False)
    assert caught.value.reason is Reason.TOO_DEEP


@pytest.mark.parametrize("one", [element(0x00100010, b"PN", b""), element(0x00091010, b"UN", b"")])
def test_the_number_of_elements_is_bounded(one: bytes) -> None:
    with pytest.raises(KeptError) as caught:
        scan(memoryview(one * (MAXIMUM_ELEMENTS + 2)), implicit=False)
    assert caught.value.reason is Reason.TOO_MANY_ELEMENTS


def test_the_number_of_nested_elements_is_bounded() -> None:
    many = element(0x00081140, b"SQ", item(CT * MAXIMUM_ELEMENTS, UNDEFINED) + SEQUENCE_END, UNDEFINED)
    with pytest.raises(KeptError) as caught:
        scan(memoryview(many), implicit=False)
    assert caught.value.reason is Reason.TOO_MANY_ELEMENTS


@pytest.mark.parametrize("value", [b"0 ", b"-1", b"1A", b"", b"1.5 ", b"9" * 5000, b"\xb2\xb3"])
def test_a_number_of_frames_that_is_none_is_said_to_be_none(value: bytes) -> None:
    assert scan(memoryview(element(0x00280008, b"IS", value)), implicit=False).frames() is None


def test_file_meta_information_is_rewritten_but_for_one_value() -> None:
    original = wheel("CT_small.dcm")
    meta = read_file_meta(memoryview(original))
    same = with_transfer_syntax(memoryview(original), meta, meta.transfer_syntax)
    assert same == original[: meta.end]
    other = with_transfer_syntax(memoryview(original), meta, "1.2.840.10008.1.2.4.201")
    again = read_file_meta(memoryview(other))
    assert (again.transfer_syntax, again.end, again.sop_class) == (
        "1.2.840.10008.1.2.4.201",
        len(other),
        meta.sop_class,
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", Reason.NOT_DICOM),
        (b"\0" * 128 + b"DICN", Reason.NOT_DICOM),
        (b"\0" * 128 + b"DICM", Reason.MALFORMED_META),
        (b"\0" * 128 + b"DICM" + element(0x00020010, b"UI", b"1.2 "), Reason.MALFORMED_META),  # no group length
        (b"\0" * 128 + b"DICM" + element(0x00020000, b"UL", b"\xff\xff\0\0"), Reason.MALFORMED_META),  # beyond the end
        (b"\0" * 128 + b"DICM" + element(0x00020000, b"UL", b"\0\0\0\0"), Reason.MALFORMED_META),  # no transfer syntax
        (file_of(b"", "1.2\n3"), Reason.MALFORMED_META),  # would forge a line in the log
        (file_of(b"", "1." * 40), Reason.MALFORMED_META),  # longer than a UID
        (file_of(element(0x00020012, b"UI", b"1.2 ")), Reason.MALFORMED_META),  # group length stops short
        (file_of(b"").replace(struct.pack("<HH", 2, 0x10), struct.pack("<HH", 8, 0x10)), Reason.MALFORMED_META),
    ],
)
def test_bad_file_meta_information_is_refused(body: bytes, reason: Reason) -> None:
    with pytest.raises(KeptError) as caught:
        read_file_meta(memoryview(body))
    assert caught.value.reason is reason


def test_a_text_longer_than_its_vr_allows_is_not_read() -> None:
    header = scan(memoryview(implicit_element(0x00080060, b"C" * 100_000)), implicit=True)
    assert header.text(MODALITY) is None
