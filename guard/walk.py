"""Walks over a data set as DCMTK would parse it, without recursion and without keeping what it has read.

It looks for two things that the parser does not survive: sequences too deep within one another, since it recurses into
them, and a value that claims to be far longer than the file, since it reserves what is claimed before it looks whether
it is there.

It is not the reader of `dicom.elements`, which refuses what the standard does not know: DCMTK reads on, and so does
this.

Where an element can be read in several ways, the way that leads deeper is taken. The walk stops where DCMTK would give
up: what lies beyond is never parsed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from dicom.elements import ITEM, ITEM_DELIMITATION, SEQUENCE_DELIMITATION, SHORT_VRS, UNDEFINED

SLACK_BYTES = 16 << 20
"""A file that ends this much too soon, or less, is only cut short: the parser finds out at little cost."""

_PIXEL_DATA = 0x7FE00010
_FRAGMENTS = frozenset({b"", b"OB", b"OW"})
_STOP = -1


class Reason(StrEnum):
    """Why a file is refused."""

    TOO_DEEP = "sequences nested too deeply"
    BEYOND_THE_FILE = "a value claims to be far longer than the file"
    TOO_MANY = "too many elements"
    INFLATES = "inflates to too many bytes"


class Encoding(NamedTuple):
    """How elements are written: the byte order of `struct`, and whether they are without VR."""

    order: str
    implicit: bool


EXPLICIT = Encoding("<", implicit=False)
IMPLICIT = Encoding("<", implicit=True)
BIG_ENDIAN = Encoding(">", implicit=False)
ENCODINGS = (EXPLICIT, IMPLICIT, BIG_ENDIAN)

_ITEM_TAGS = {"<": b"\xfe\xff\x00\xe0", ">": b"\xff\xfe\xe0\x00"}


class _Readers(NamedTuple):
    """Unpackers for one byte order."""

    tag_and_length: Callable[..., tuple[Any, ...]]
    tag_and_vr: Callable[..., tuple[Any, ...]]
    length: Callable[..., tuple[Any, ...]]


_READERS = {
    order: _Readers(*(struct.Struct(order + layout).unpack_from for layout in ("HHL", "HH2sH", "L")))
    for order in _ITEM_TAGS
}


def count_items(content: bytes) -> int:
    """A fast upper bound on the number of items, in either byte order: pixels may hold the same bytes by chance."""
    return sum(content.count(tag) for tag in _ITEM_TAGS.values())


class _Level(NamedTuple):
    """A sequence or an item that is open; ``end`` is the end of the file where its length is undefined."""

    end: int
    is_sequence: bool
    encoding: Encoding


class Walk:
    """One walk over one data set.

    Time and memory are bounded: no more steps than elements are allowed, and a stack no deeper than sequences may be.

    Args:
        content: the bytes that hold the data set, to their end.
        max_depth: most sequences within one another.
        max_elements: most elements, items and fragments.

    Attributes:
        whole: whether the walk led exactly to the end of the file, as it does in any well-formed one.
    """

    def __init__(self, content: bytes, max_depth: int, max_elements: int) -> None:
        self._content = content
        self._size = len(content)
        self._max_depth = max_depth
        self._left = max_elements
        self._levels: list[_Level] = []
        self._depth = 0
        self._found: Reason | None = None
        self.whole = False

    def check_from(self, offset: int, encoding: Encoding) -> Reason | None:
        """What is wrong with the data set that begins at ``offset``. None also where it is malformed but harmless."""
        self._levels = [_Level(self._size, is_sequence=False, encoding=encoding)]
        try:
            while 0 <= offset < self._size:
                self._left -= 1
                if self._left < 0:
                    self._found = Reason.TOO_MANY
                    break
                level = self._levels[-1]
                if offset >= level.end:
                    self._leave()
                elif level.is_sequence:
                    offset = self._next_item(offset, level)
                else:
                    offset = self._next_element(offset, level)
        except struct.error:
            return self._found  # it ends within an element's header
        self.whole = offset == self._size
        return self._found

    def _leave(self) -> None:
        if self._levels.pop().is_sequence:
            self._depth -= 1

    def _next_item(self, offset: int, level: _Level) -> int:
        group, number, length = _READERS[level.encoding.order].tag_and_length(self._content, offset)
        tag, value = group << 16 | number, offset + 8
        if tag == SEQUENCE_DELIMITATION:
            self._leave()
        elif tag == ITEM:
            end = self._size if length == UNDEFINED else value + length
            self._levels.append(_Level(end, is_sequence=False, encoding=level.encoding))
        else:
            return _STOP
        return value

    def _next_element(self, offset: int, level: _Level) -> int:
        if not level.encoding.implicit:
            offset = self._past_short_values(offset, level)
        if offset >= min(level.end, self._size):
            return offset
        tag, vr, value, length = self._header(offset, level.encoding)
        if tag == ITEM_DELIMITATION:
            if len(self._levels) > 1:
                self._leave()
            return value
        if length == UNDEFINED:
            if tag == _PIXEL_DATA and vr in _FRAGMENTS:
                return self._past_fragments(value, level.encoding)
            # In UN of undefined length all is implicit VR little endian (PS3.5 6.2.2 note 2).
            return self._enter(value, self._size, IMPLICIT if vr == b"UN" else level.encoding)
        end = value + length
        if self._may_be_sequence(tag, vr, value, level.encoding):
            return self._enter(value, end, level.encoding)
        if end > self._size + SLACK_BYTES:
            self._found = Reason.BEYOND_THE_FILE
        return end

    def _past_short_values(self, offset: int, level: _Level) -> int:
        """Step over elements with 16-bit lengths: nine of ten, so the time of a walk is this loop."""
        content, last, unpack = self._content, min(level.end, self._size), _READERS[level.encoding.order].tag_and_vr
        left = self._left
        while offset < last and left:
            _, _, vr, length = unpack(content, offset)
            if vr not in SHORT_VRS:
                break
            offset += 8 + length
            left -= 1
        self._left = left
        return offset

    def _may_be_sequence(self, tag: int, vr: bytes, value: int, encoding: Encoding) -> bool:
        """Whether an element of defined length may be one. Without a VR its first bytes decide: it may be private."""
        if vr:
            return vr == b"SQ"
        return tag != _PIXEL_DATA and self._content.startswith(_ITEM_TAGS[encoding.order], value)

    def _header(self, offset: int, encoding: Encoding) -> tuple[int, bytes, int, int]:
        """Tag, VR, where the value begins, length."""
        readers = _READERS[encoding.order]
        group, number, length = readers.tag_and_length(self._content, offset)
        tag = group << 16 | number
        if encoding.implicit or group == 0xFFFE:
            return tag, b"", offset + 8, length
        _, _, vr, length = readers.tag_and_vr(self._content, offset)
        # DCMTK takes two capitals that are no VR for one with a 32-bit length.
        if vr in SHORT_VRS or not (vr.isalpha() and vr.isupper()):
            return tag, vr, offset + 8, length
        return tag, vr, offset + 12, readers.length(self._content, offset + 8)[0]

    def _enter(self, value: int, end: int, encoding: Encoding) -> int:
        self._depth += 1
        self._levels.append(_Level(end, is_sequence=True, encoding=encoding))
        if self._depth <= self._max_depth:
            return value
        self._found = Reason.TOO_DEEP
        return _STOP

    def _past_fragments(self, offset: int, encoding: Encoding) -> int:
        """The offset after encapsulated pixel data (PS3.5 A.4): its items hold bytes, not elements."""
        tag_and_length = _READERS[encoding.order].tag_and_length
        while self._left > 0:
            self._left -= 1
            group, number, length = tag_and_length(self._content, offset)
            tag = group << 16 | number
            if tag == SEQUENCE_DELIMITATION:
                return offset + 8
            if tag != ITEM or length == UNDEFINED:
                return _STOP
            offset += 8 + length
        return offset
