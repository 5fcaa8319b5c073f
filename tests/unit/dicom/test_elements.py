"""Elements: one header at a time, and values of undefined length to their end, within bounds."""

from __future__ import annotations

import struct

import pytest

from dicom.elements import UNDEFINED, Budget, end_of_undefined, read_element
from dicom.errors import MalformedError, TooDeepError, TooManyElementsError

ITEM = struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
END_OF_ITEM = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
END_OF_SEQUENCE = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
SEQUENCE = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, UNDEFINED)
TEXT = struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 2) + b"CT"


def test_both_kinds_of_vr_and_both_kinds_of_length() -> None:
    assert read_element(memoryview(TEXT), 0, implicit=False) == (0x00080060, b"CS", 0, 8, 2, 10)
    long = struct.pack("<HH2sHL", 0x7FE0, 0x0010, b"OW", 0, 4) + bytes(4)
    assert read_element(memoryview(b"xx" + long), 2, implicit=False) == (0x7FE00010, b"OW", 2, 14, 4, 18)
    implicit = struct.pack("<HHL", 0x0008, 0x0060, 2) + b"CT"
    assert read_element(memoryview(implicit), 0, implicit=True) == (0x00080060, b"", 0, 8, 2, 10)


@pytest.mark.parametrize(
    "content",
    [
        struct.pack("<HH2sH", 0x0008, 0x0060, b"ZZ", 0),  # no VR
        struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 2) + b"C",  # ends beyond the buffer
        struct.pack("<HH2sHL", 0x0008, 0x0060, b"UT", 0, UNDEFINED),  # text has a length
    ],
)
def test_what_is_no_element_is_refused(content: bytes) -> None:
    with pytest.raises(MalformedError):
        read_element(memoryview(content), 0, implicit=False)


def test_a_header_that_is_cut_short_is_told_apart() -> None:
    with pytest.raises(struct.error):
        read_element(memoryview(TEXT[:7]), 0, implicit=False)


def end_of(content: bytes, budget: Budget) -> int:
    view = memoryview(content)
    return end_of_undefined(view, read_element(view, 0, implicit=False), implicit=False, budget=budget)


def test_an_undefined_length_ends_with_its_own_delimiter() -> None:
    inner = SEQUENCE + ITEM + TEXT + END_OF_ITEM + END_OF_SEQUENCE
    whole = SEQUENCE + ITEM + inner + END_OF_ITEM + END_OF_SEQUENCE
    assert end_of(whole + TEXT, Budget(100, 2)) == len(whole)


def test_depth_and_number_are_bounded() -> None:
    nest = (SEQUENCE + ITEM) * 50
    with pytest.raises(TooDeepError, match="more than 10 sequences"):
        end_of(nest, Budget(10_000, 10))
    with pytest.raises(TooManyElementsError):
        end_of(SEQUENCE + ITEM + TEXT * 50, Budget(20, 10))
    with pytest.raises(MalformedError, match="where an item was expected"):
        end_of(SEQUENCE + TEXT, Budget(20, 10))
