"""Scans the top level of a data set: where the pixel data is, and the attributes that describe it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from dicom.elements import (
    EXPLICIT_HEADER,
    SHORT_VRS,
    UNDEFINED,
    Budget,
    Element,
    end_of_undefined,
    read_element,
    tag_text,
)
from dicom.errors import UnreadableError
from dicom.file_meta import text

from ..outcome import KeptError, Reason, kept_error_of

SOP_CLASS = 0x00080016
MODALITY = 0x00080060
SAMPLES_PER_PIXEL = 0x00280002
PHOTOMETRIC_INTERPRETATION = 0x00280004
PLANAR_CONFIGURATION = 0x00280006
NUMBER_OF_FRAMES = 0x00280008
ROWS = 0x00280010
COLUMNS = 0x00280011
BITS_ALLOCATED = 0x00280100
BITS_STORED = 0x00280101
HIGH_BIT = 0x00280102
PIXEL_REPRESENTATION = 0x00280103
PIXEL_GROUP_LENGTH = 0x7FE00000
EXTENDED_OFFSET_TABLE = 0x7FE00001
EXTENDED_OFFSET_TABLE_LENGTHS = 0x7FE00002
ENCAPSULATED_TOTAL_LENGTH = 0x7FE00003
FLOAT_PIXEL_DATA = 0x7FE00008
DOUBLE_PIXEL_DATA = 0x7FE00009
PIXEL_DATA = 0x7FE00010
DIGITAL_SIGNATURES = 0xFFFAFFFA

ENCAPSULATION = frozenset({EXTENDED_OFFSET_TABLE, EXTENDED_OFFSET_TABLE_LENGTHS, ENCAPSULATED_TOTAL_LENGTH})
"""Describe encapsulated pixel data, and have no meaning beside native pixel data (PS3.3 C.7.6.3.1.8 to 10)."""

_WANTED = frozenset(
    {SOP_CLASS, MODALITY, SAMPLES_PER_PIXEL, PHOTOMETRIC_INTERPRETATION, PLANAR_CONFIGURATION, NUMBER_OF_FRAMES, ROWS}
    | {COLUMNS, BITS_ALLOCATED, BITS_STORED, HIGH_BIT, PIXEL_REPRESENTATION, PIXEL_GROUP_LENGTH, EXTENDED_OFFSET_TABLE}
    | {FLOAT_PIXEL_DATA, DOUBLE_PIXEL_DATA, PIXEL_DATA, DIGITAL_SIGNATURES}
    | ENCAPSULATION
)

_ODD_GROUPS = frozenset({0x0000, 0x0002, 0xFFFE})
"""Commands, file meta information and delimiters have no place at the top level of a data set."""

MAXIMUM_ELEMENTS = 250_000
"""Enhanced multi-frame objects of a thousand frames stay below 100,000; beyond this the scan takes too long."""

MAXIMUM_DEPTH = 64
"""Sequences within sequences. Structured reports, the deepest objects in practice, stay below 20."""


MAX_TEXT_BYTES = 64
"""UI is the longest of the text values read here (PS3.5 6.2); in implicit VR a sender may claim four gigabytes."""


@dataclass(frozen=True, slots=True)
class Header:
    """A scanned data set: its bytes, whether they are implicit VR, and the elements that matter by tag."""

    view: memoryview
    implicit: bool
    found: dict[int, Element]

    def text(self, tag: int) -> str | None:
        """The value of a text element, padding removed; None when absent or too long."""
        element = self.found.get(tag)
        return None if element is None or element.length > MAX_TEXT_BYTES else text(self.view, element)

    def number(self, tag: int) -> int | None:
        """The value of a US element; None when absent or not exactly one value long."""
        element = self.found.get(tag)
        if element is None or element.length != 2 or element.vr not in (b"US", b""):
            return None
        return int.from_bytes(self.view[element.value : element.end], "little")

    def frames(self) -> int | None:
        """Number of Frames, 1 when absent; None when it is not a positive integer (IS, PS3.5 6.2)."""
        if NUMBER_OF_FRAMES not in self.found:
            return 1
        value = self.text(NUMBER_OF_FRAMES) or ""
        # Twelve bytes is what IS allows; it also spares int() a megabyte of digits.
        return int(value) if len(value) <= 12 and value.isascii() and value.isdigit() and int(value) > 0 else None


def scan(view: memoryview, *, implicit: bool) -> Header:
    """Find the elements that matter at the top level of a data set; what is nested is stepped over.

    Only the top-level Pixel Data counts: an icon image sequence has one of its own. Elements after the pixel data are
    walked too, since what cannot be walked cannot be kept with certainty.

    Raises:
        KeptError: the data set is malformed, too deep, or has an element that matters twice.
    """
    found: dict[int, Element] = {}
    budget = Budget(MAXIMUM_ELEMENTS, MAXIMUM_DEPTH)
    offset = 0
    try:
        while offset < len(view):
            if not implicit:
                offset = _past_short_values(view, offset, budget)
            if offset < len(view):
                offset = _take(view, offset, found, implicit=implicit, budget=budget)
    except UnreadableError as error:
        raise kept_error_of(error) from None
    except struct.error:
        raise KeptError(Reason.MALFORMED, "the file ends within an element") from None
    if offset > len(view):
        raise KeptError(Reason.MALFORMED, "the last element ends beyond the end of the file")
    return Header(view, implicit, found)


def _past_short_values(view: memoryview, offset: int, budget: Budget) -> int:
    """Step over explicit VR elements of no interest with 16-bit lengths: nine of ten, so the scan's time is this loop.

    It stops at what it does not know, which is for `_take`. The caller checks where the last element ends.
    """
    size, unpack = len(view), EXPLICIT_HEADER.unpack_from
    left = budget.left
    while offset < size and left:
        group, number, vr, length = unpack(view, offset)
        if vr not in SHORT_VRS or group in _ODD_GROUPS or group << 16 | number in _WANTED:
            break
        offset += 8 + length
        left -= 1
    budget.left = left
    return offset


def _take(view: memoryview, offset: int, found: dict[int, Element], *, implicit: bool, budget: Budget) -> int:
    """Read one element, keep it if it matters, and return the offset after it."""
    budget.spend()
    element = read_element(view, offset, implicit=implicit)
    if element.length == UNDEFINED:
        end = end_of_undefined(view, element, implicit=implicit, budget=budget)
        element = element._replace(end=end)
    if element.tag in _WANTED:
        _add(found, element)
    elif element.tag >> 16 in _ODD_GROUPS:
        raise KeptError(Reason.MALFORMED, f"{tag_text(element.tag)} at the top level")
    return element.end


def _add(found: dict[int, Element], element: Element) -> None:
    if element.tag in found:
        raise KeptError(Reason.MALFORMED, f"{tag_text(element.tag)} occurs twice")
    found[element.tag] = element
