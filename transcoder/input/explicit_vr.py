"""Converts implicit VR little endian to explicit VR; value bytes stay as they are.

Both syntaxes are little endian, so a value has the same bytes in each and only headers differ: nothing is decoded, and
no text, date or number can change. VRs come from the data dictionary of PS3.6 (pydicom's).
"""

from __future__ import annotations

import struct

from dicom.elements import (
    ITEM,
    ITEM_DELIMITATION,
    SEQUENCE_DELIMITATION,
    SHORT_VRS,
    UNDEFINED,
    Budget,
    Element,
    end_of_undefined,
    read_element,
    read_tag_and_length,
    tag_text,
)
from dicom.errors import UnreadableError

from ..outcome import KeptError, Reason, kept_error_of
from .header import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS, PIXEL_REPRESENTATION
from .vrs import Level, vr_of

_HEADER = struct.Struct("<HH2sH")


def to_explicit(view: memoryview) -> bytes:
    """The data set in explicit VR little endian (PS3.5 A.2).

    Raises:
        KeptError: malformed, too deep, or an element whose VR depends on what the file does not say.
        struct.error: it ends within an element.
    """
    rewriter = _Rewriter(view)
    try:
        rewriter.data_set(0, len(view), Level(None, 0))
    except UnreadableError as error:
        raise kept_error_of(error) from None
    return bytes(rewriter.out)


class _Rewriter:
    """Reads one buffer and appends to another; the lengths of nested elements are corrected once these are written."""

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.out = bytearray()
        # Nested elements of undefined length are walked to find their ends before they are rewritten, once per level.
        self.budget = Budget(4 * MAXIMUM_ELEMENTS, MAXIMUM_DEPTH)

    def data_set(self, start: int, end: int, level: Level) -> None:
        """Rewrite the elements from ``start`` to ``end``."""
        if level.depth > self.budget.depth:
            raise KeptError(Reason.TOO_DEEP, f"more than {self.budget.depth} sequences within one another")
        elements = self._elements(start, end)
        for element in elements:
            # Read ahead: elements that depend on it may come before it, for instance (0018,9810).
            if element.tag == PIXEL_REPRESENTATION and element.length == 2:
                level.signed = bool(self.view[element.value] & 1)
        group, length_at = -1, -1
        for element in elements:
            if element.tag >> 16 != group:
                self._set_group_length(length_at)
                group, length_at = element.tag >> 16, -1
            self._element(element, vr_of(self.view, element, level), level)
            if element.tag & 0xFFFF == 0 and element.length == 4:
                length_at = len(self.out) - 4
        self._set_group_length(length_at)

    def _set_group_length(self, length_at: int) -> None:
        """Correct a group length (retired, PS3.5 7.2): it counts the bytes of its group, and headers became longer."""
        if length_at >= 0:
            struct.pack_into("<L", self.out, length_at, len(self.out) - length_at - 4)

    def _elements(self, start: int, end: int) -> list[Element]:
        found = []
        within = self.view[:end]
        while start < end:
            found.append(self._read(within, start))
            start = found[-1].end
        return found

    def _read(self, within: memoryview, offset: int) -> Element:
        """The element at ``offset``, with its true end when its length is undefined."""
        self.budget.spend()
        element = read_element(within, offset, implicit=True)
        if element.length != UNDEFINED:
            return element
        return element._replace(end=end_of_undefined(within, element, implicit=True, budget=self.budget))

    def _element(self, element: Element, vr: bytes, level: Level) -> None:
        group, number = element.tag >> 16, element.tag & 0xFFFF
        if vr in SHORT_VRS:
            self.out += _HEADER.pack(group, number, vr, element.length)
            self.out += self.view[element.value : element.end]
            return
        self.out += _HEADER.pack(group, number, vr, 0)
        length_at = len(self.out)
        self.out += struct.pack("<L", element.length)
        if vr != b"SQ":
            # UN of undefined length keeps its content in implicit VR, delimiters included: PS3.5 6.2.2 note 2.
            self.out += self.view[element.value : element.end]
            return
        self._items(element, level)
        if element.length != UNDEFINED:
            struct.pack_into("<L", self.out, length_at, len(self.out) - length_at - 4)

    def _items(self, sequence: Element, level: Level) -> None:
        """Rewrite the items of a sequence; each keeps a defined or an undefined length."""
        offset = sequence.value
        while offset < sequence.end:
            self.budget.spend()
            tag, length = read_tag_and_length(self.view, offset)
            if tag == SEQUENCE_DELIMITATION and sequence.length == UNDEFINED:
                self.out += self.view[offset : offset + 8]
                return
            if tag != ITEM:
                raise KeptError(
                    Reason.MALFORMED, f"{tag_text(tag)} where an item was expected, in {tag_text(sequence.tag)}"
                )
            offset = self._item(offset, length, sequence.end, Level(level.signed, level.depth + 1))

    def _item(self, offset: int, length: int, limit: int, level: Level) -> int:
        """Rewrite one item; returns the offset after it."""
        start = offset + 8
        end = self._delimiter_from(start, limit) if length == UNDEFINED else start + length
        if end > limit:
            raise KeptError(Reason.MALFORMED, f"an item ends beyond its sequence, byte {offset}")
        self.out += self.view[offset:start]
        written = len(self.out)
        self.data_set(start, end, level)
        if length != UNDEFINED:
            struct.pack_into("<L", self.out, written - 4, len(self.out) - written)
            return end
        self.out += self.view[end : end + 8]
        return end + 8

    def _delimiter_from(self, offset: int, limit: int) -> int:
        """Where the delimiter of an item of undefined length starts."""
        within = self.view[:limit]
        while True:
            element = self._read(within, offset)
            if element.tag == ITEM_DELIMITATION:
                return offset
            offset = element.end
