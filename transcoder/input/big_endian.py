"""Converts explicit VR big endian (retired, PS3.5 A.3) to little endian; headers and values keep their lengths.

The VR says which bytes belong together (PS3.5 7.3). For a value of VR UN nobody can know, so the original is kept.
Nothing is decoded: a text stays as it is, and a number is the same number.
"""

from __future__ import annotations

import struct

import numpy as np

from dicom.elements import (
    ITEM,
    ITEM_DELIMITATION,
    LONG_VRS,
    SEQUENCE_DELIMITATION,
    SHORT_VRS,
    UNDEFINED,
    Budget,
    tag_text,
)
from dicom.errors import UnreadableError

from ..outcome import KeptError, Reason, kept_error_of
from .header import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS

_SHORT = struct.Struct(">HH2sH")
_LONG = struct.Struct(">HH2sHL")
_TAG_AND_LENGTH = struct.Struct(">HHL")

# Bytes of one number; AT is two numbers of two bytes each.
_WIDTHS = (
    dict.fromkeys((b"US", b"SS", b"AT", b"OW"), 2)
    | dict.fromkeys((b"UL", b"SL", b"FL", b"OF", b"OL"), 4)
    | dict.fromkeys((b"FD", b"OD", b"SV", b"UV", b"OV"), 8)
)


def to_little_endian(view: memoryview) -> bytes:
    """The data set in explicit VR little endian (PS3.5 A.2).

    Raises:
        KeptError: malformed, too deep, or with a value whose byte order cannot be known.
    """
    converted = bytearray(view)
    try:
        _Converter(converted).data_set()
    except UnreadableError as error:
        raise kept_error_of(error) from None
    except struct.error:
        raise KeptError(Reason.MALFORMED, "the file ends within an element") from None
    return bytes(converted)


class _Converter:
    """One pass over one buffer, in place. A stack instead of recursion holds the items and sequences that are open."""

    def __init__(self, content: bytearray) -> None:
        self._content = content
        self._budget = Budget(MAXIMUM_ELEMENTS, MAXIMUM_DEPTH)
        # Pairs: whether it is a sequence, and where it ends; None is for undefined length.
        self._open: list[tuple[bool, int | None]] = [(False, len(content))]

    def data_set(self) -> None:
        """Convert everything.

        Raises:
            KeptError, struct.error: see `to_little_endian`.
        """
        offset = 0
        while self._open:
            in_sequence, end = self._open[-1]
            if end is not None and offset >= end:
                if offset > end:
                    raise KeptError(Reason.MALFORMED, f"an element goes beyond the item it is in, byte {offset}")
                self._open.pop()
                continue
            self._budget.spend()
            offset = self._item(offset) if in_sequence else self._element(offset)

    def _item(self, offset: int) -> int:
        tag, length = self._swap_tag_and_length(offset)
        if tag == ITEM:
            self._push(offset + 8, length, is_sequence=False)
        elif tag == SEQUENCE_DELIMITATION and self._open[-1][1] is None:
            self._open.pop()
        else:
            raise KeptError(Reason.MALFORMED, f"{tag_text(tag)} where an item was expected, byte {offset}")
        return offset + 8

    def _element(self, offset: int) -> int:
        group, number, vr, length = _SHORT.unpack_from(self._content, offset)
        tag = group << 16 | number
        if tag == ITEM_DELIMITATION and self._open[-1][1] is None:
            self._swap_tag_and_length(offset)
            self._open.pop()
            return offset + 8
        value = offset + 8
        if vr in LONG_VRS:
            *_, length = _LONG.unpack_from(self._content, offset)
            value += 4
            struct.pack_into("<HH2sHL", self._content, offset, group, number, vr, 0, length)
        elif vr in SHORT_VRS:
            struct.pack_into("<HH2sH", self._content, offset, group, number, vr, length)
        else:
            raise KeptError(Reason.MALFORMED, f"no VR {vr!r} at {tag_text(tag)}, byte {offset}")
        if vr == b"SQ":
            self._push(value, length, is_sequence=True)
            return value
        return self._swap_value(tag, vr, value, length)

    def _push(self, value: int, length: int, *, is_sequence: bool) -> None:
        end = None if length == UNDEFINED else value + length
        if end is not None and end > len(self._content):
            raise KeptError(Reason.MALFORMED, f"an item ends beyond the end of the file, byte {value}")
        self._open.append((is_sequence, end))
        if len(self._open) > 2 * self._budget.depth:
            raise KeptError(Reason.TOO_DEEP, f"more than {self._budget.depth} sequences within one another")

    def _swap_tag_and_length(self, offset: int) -> tuple[int, int]:
        group, number, length = _TAG_AND_LENGTH.unpack_from(self._content, offset)
        struct.pack_into("<HHL", self._content, offset, group, number, length)
        return group << 16 | number, length

    def _swap_value(self, tag: int, vr: bytes, value: int, length: int) -> int:
        end = value + length
        if length == UNDEFINED or (vr == b"UN" and length):
            raise KeptError(Reason.BIG_ENDIAN, f"the byte order of {tag_text(tag)}, {vr.decode()}, cannot be known")
        if end > len(self._content):
            raise KeptError(Reason.MALFORMED, f"{tag_text(tag)} ends beyond the end of the file")
        width = _WIDTHS.get(vr, 1)
        if length % width:
            raise KeptError(Reason.MALFORMED, f"{tag_text(tag)} of {length} bytes with VR {vr.decode()}")
        if width > 1 and length:
            numbers = np.frombuffer(self._content, f"u{width}", length // width, value)
            numbers.byteswap(inplace=True)
        return end
