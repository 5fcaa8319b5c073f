"""Splits encapsulated pixel data (PS3.5 A.4) into one code stream per frame.

Not pydicom.encaps: it needs a copy of the pixel data, does not notice an offset table that contradicts the fragments,
and only warns where frames are missing.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from dicom.elements import ITEM, UNDEFINED, Element, read_tag_and_length

from ..outcome import KeptError, Reason
from .header import EXTENDED_OFFSET_TABLE, PIXEL_DATA, Header


class _Fragment(NamedTuple):
    """Offset of its item tag, counted as offset tables do; and its content."""

    offset: int
    content: memoryview


def frame_streams(header: Header, frames: int, *, fragment_each: bool) -> list[bytes]:
    """The code stream of each frame.

    Args:
        header: with encapsulated pixel data.
        frames: how many there are to be.
        fragment_each: whether a frame must be one fragment, as in RLE (PS3.5 A.4.2).

    Raises:
        KeptError: nothing says which fragment belongs to which frame, or an offset table contradicts the
            fragments.
    """
    table, fragments = _items(header.view, header.found[PIXEL_DATA])
    if not fragments:
        raise KeptError(Reason.MALFORMED, "no fragment in the pixel data")
    if fragment_each and len(fragments) != frames:
        raise KeptError(Reason.MALFORMED, f"{len(fragments)} fragments for {frames} frames")
    starts = _starts(header, table, frames)
    if starts is None:
        if frames not in (1, len(fragments)):
            raise KeptError(Reason.MALFORMED, f"{len(fragments)} fragments for {frames} frames, and no offset table")
        starts = [0] if frames == 1 else [fragment.offset for fragment in fragments]
    groups = _grouped(fragments, starts)
    return [b"".join(group) for group in groups]


def _items(view: memoryview, element: Element) -> tuple[memoryview, list[_Fragment]]:
    """The basic offset table and the fragments. The scan has walked them, so delimiters are there."""
    contents = []
    offset = element.value
    while offset < element.end - 8:
        tag, length = read_tag_and_length(view, offset)
        if tag != ITEM or length == UNDEFINED:
            raise KeptError(Reason.MALFORMED, "a fragment without a length")
        contents.append((offset, view[offset + 8 : offset + 8 + length]))
        offset += 8 + length
    if not contents:
        raise KeptError(Reason.MALFORMED, "pixel data without an offset table")
    first = contents[0][0] + 8 + len(contents[0][1])
    return contents[0][1], [_Fragment(offset - first, content) for offset, content in contents[1:]]


def _starts(header: Header, table: memoryview, frames: int) -> list[int] | None:
    """Where frames begin, as the offset tables say; None without a table."""
    tables = []
    if len(table):
        tables.append(_numbers(table, "L"))
    extended = header.found.get(EXTENDED_OFFSET_TABLE)
    if extended is not None:
        tables.append(_numbers(header.view[extended.value : extended.end], "Q"))
    for numbers in tables:
        if len(numbers) != frames or numbers != tables[0]:
            raise KeptError(Reason.MALFORMED, "an offset table for another number of frames, or two that differ")
    return tables[0] if tables else None


def _numbers(table: memoryview, kind: str) -> list[int]:
    size = struct.calcsize(f"<{kind}")
    if len(table) % size:
        raise KeptError(Reason.MALFORMED, f"an offset table of {len(table)} bytes")
    return list(struct.unpack(f"<{len(table) // size}{kind}", table))


def _grouped(fragments: Sequence[_Fragment], starts: Sequence[int]) -> list[list[memoryview]]:
    """The fragments of each frame: those from its start up to the next frame's."""
    groups: list[list[memoryview]] = []
    wanted = iter([*starts[1:], None])
    following: int | None = starts[0]
    for fragment in fragments:
        if fragment.offset == following:
            groups.append([])
            following = next(wanted)
        if not groups:
            break
        groups[-1].append(fragment.content)
    if len(groups) != len(starts):
        raise KeptError(Reason.MALFORMED, "an offset table that does not point at fragments")
    return groups
