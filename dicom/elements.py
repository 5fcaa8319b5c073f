"""Reads the headers of data elements in little endian, explicit and implicit VR (PS3.5 7.1)."""

from __future__ import annotations

import struct
from typing import NamedTuple

from .errors import MalformedError, TooDeepError, TooManyElementsError

UNDEFINED = 0xFFFFFFFF
"""Value length of a sequence, item or pixel data that ends with a delimiter (PS3.5 7.5)."""

ITEM = 0xFFFEE000
ITEM_DELIMITATION = 0xFFFEE00D
SEQUENCE_DELIMITATION = 0xFFFEE0DD

# PS3.5 table 7.1-1: two reserved bytes and a 32-bit length; the others of table 7.1-2 have a 16-bit length.
LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
SHORT_VRS = frozenset(
    {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT", b"PN"}
    | {b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
)
_MAY_BE_UNDEFINED = frozenset({b"SQ", b"UN", b"OB", b"OW"})

EXPLICIT_HEADER = struct.Struct("<HH2sH")
_IMPLICIT = struct.Struct("<HHL")
_LENGTH = struct.Struct("<L")


class Element(NamedTuple):
    """One data element of a buffer.

    Attributes:
        tag: group and number, as one number of 32 bits.
        vr: two letters; empty in implicit VR.
        start: byte offset of the element.
        value: byte offset of its value.
        length: of the value in bytes; may be UNDEFINED.
        end: byte offset after the value, delimiters included; ``value`` while an undefined length is not followed yet.
    """

    tag: int
    vr: bytes
    start: int
    value: int
    length: int
    end: int


class Budget:
    """How many elements are read of one file, and how deep: a hostile one may hold hundreds of millions."""

    __slots__ = ("depth", "left")

    def __init__(self, elements: int, depth: int) -> None:
        self.left = elements
        self.depth = depth

    def spend(self) -> None:
        """Count one element.

        Raises:
            TooManyElementsError: none are left.
        """
        self.left -= 1
        if self.left < 0:
            raise TooManyElementsError


def tag_text(tag: int) -> str:
    """The tag as people write it: ``(7FE0,0010)``."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"


def read_tag_and_length(view: memoryview, offset: int) -> tuple[int, int]:
    """The header of an item or a delimiter, which have no VR (PS3.5 7.5).

    Raises:
        struct.error: the buffer ends within it.
    """
    group, number, length = _IMPLICIT.unpack_from(view, offset)
    return group << 16 | number, length


def read_element(view: memoryview, offset: int, *, implicit: bool) -> Element:
    """Read the header of the element at ``offset``.

    Raises:
        MalformedError: it is not an element, or its value ends beyond the buffer.
        struct.error: the buffer ends within the header.
    """
    if implicit:
        group, number, length = _IMPLICIT.unpack_from(view, offset)
        vr, value = b"", offset + 8
    else:
        group, number, vr, length = EXPLICIT_HEADER.unpack_from(view, offset)
        value = offset + 8
        if vr in LONG_VRS:
            (length,) = _LENGTH.unpack_from(view, value)
            value += 4
        elif vr not in SHORT_VRS:
            raise MalformedError(f"no VR {vr!r} at {tag_text(group << 16 | number)}, byte {offset}")
    tag = group << 16 | number
    if length == UNDEFINED:
        if not implicit and vr not in _MAY_BE_UNDEFINED:
            raise MalformedError(f"undefined length at {tag_text(tag)} with VR {vr.decode()}")
        return Element(tag, vr, offset, value, length, value)
    if value + length > len(view):
        raise MalformedError(f"{tag_text(tag)} ends beyond the end of the file")
    return Element(tag, vr, offset, value, length, value + length)


def end_of_undefined(view: memoryview, element: Element, *, implicit: bool, budget: Budget) -> int:
    """Follow a value of undefined length, nested ones included, to the byte after its delimiter (PS3.5 7.5.2).

    With a stack instead of recursion: the sender chooses the depth. Within UN all is implicit VR (PS3.5 6.2.2 note 2).

    Raises:
        UnreadableError: delimiters missing, too deep, too many elements. struct.error: the buffer ends first.
    """
    stack = [(True, implicit or element.vr == b"UN")]
    offset = element.value
    while stack:
        budget.spend()
        in_sequence, is_implicit = stack[-1]
        group, number, length = _IMPLICIT.unpack_from(view, offset)
        tag = group << 16 | number
        if tag == (SEQUENCE_DELIMITATION if in_sequence else ITEM_DELIMITATION):
            stack.pop()
            offset += 8
        elif in_sequence:
            offset = _enter_item(view, tag, length, offset)
            if length == UNDEFINED:
                stack.append((False, is_implicit))
        else:
            inner = read_element(view, offset, implicit=is_implicit)
            offset = inner.end
            if inner.length == UNDEFINED:
                stack.append((True, is_implicit or inner.vr == b"UN"))
        if len(stack) > 2 * budget.depth:
            raise TooDeepError(f"more than {budget.depth} sequences within one another")
    return offset


def _enter_item(view: memoryview, tag: int, length: int, offset: int) -> int:
    """Where to read on at an item: at its content when its length is undefined, else after it."""
    if tag != ITEM:
        raise MalformedError(f"{tag_text(tag)} where an item was expected, byte {offset}")
    after = offset + 8 if length == UNDEFINED else offset + 8 + length
    if after > len(view):
        raise MalformedError(f"an item ends beyond the end of the file, byte {offset}")
    return after
