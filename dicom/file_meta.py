"""Reads file meta information (PS3.10 7.1), which stands before the data set of a DICOM file."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .elements import Element, read_element
from .errors import MalformedError, NoPreambleError

PREAMBLE_BYTES = 128
PREFIX = b"DICM"
FIRST_ELEMENT = PREAMBLE_BYTES + len(PREFIX)
"""Where the first element, the group length, begins."""

GROUP_LENGTH = 0x00020000
SOP_CLASS = 0x00020002
SOP_INSTANCE = 0x00020003
TRANSFER_SYNTAX = 0x00020010

_MAX_ELEMENTS = 64  # PS3.10 table 7.1-1 has 20; private information may add a few
_MAX_UID_CHARS = 64
_UID = re.compile(r"[0-9.]+")


@dataclass(frozen=True, slots=True)
class FileMeta:
    """The file meta information of one file.

    Attributes:
        transfer_syntax: UID; digits and dots only.
        sop_class: Media Storage SOP Class UID, empty when absent. Anything may be in it.
        elements: by tag, without the group length; offsets count from the start of the file.
        group_length: what (0002,0000) says, in bytes.
        end: where the data set starts.
    """

    transfer_syntax: str
    sop_class: str
    elements: Mapping[int, Element]
    group_length: int
    end: int


def has_prefix(content: bytes | memoryview) -> bool:
    """Whether a file that begins like this has the prefix of a DICOM file."""
    return bytes(content[PREAMBLE_BYTES:FIRST_ELEMENT]) == PREFIX


def text(view: memoryview, element: Element) -> str:
    """The value as text, padding removed (PS3.5 6.2). UI, CS and IS are ASCII; other bytes become escapes."""
    return bytes(view[element.value : element.end]).decode("ascii", "backslashreplace").strip(" \0")


def read_file_meta(view: memoryview) -> FileMeta:
    """Read the file meta information of a whole file.

    Raises:
        NoPreambleError: no preamble or prefix.
        MalformedError: file meta information that is cut short or contradicts itself.
    """
    if not has_prefix(view):
        raise NoPreambleError("no preamble and DICM prefix")
    try:
        return _read(view)
    except struct.error:
        raise MalformedError("the file ends within it") from None


def sop_instance_of(view: memoryview, meta: FileMeta) -> str:
    """Media Storage SOP Instance UID, empty when absent. Anything may be in it."""
    element = meta.elements.get(SOP_INSTANCE)
    return text(view, element) if element else ""


def _read(view: memoryview) -> FileMeta:
    first = read_element(view, FIRST_ELEMENT, implicit=False)
    if (first.tag, first.vr, first.length) != (GROUP_LENGTH, b"UL", 4):
        raise MalformedError("no group length")
    (group_length,) = struct.unpack_from("<L", view, first.value)
    end = first.end + group_length
    if end > len(view):
        raise MalformedError("its group length goes beyond the end of the file")
    found = _elements(view[:end], first.end)
    syntax = found.get(TRANSFER_SYNTAX)
    # The text appears in logs and on pages: digits and dots only, and no more of them than a UID has (PS3.5 9.1).
    if syntax is None or syntax.length > _MAX_UID_CHARS or not _UID.fullmatch(text(view, syntax)):
        raise MalformedError("no transfer syntax UID")
    # A group length that stops short leaves meta elements where the data set should start.
    if end + 2 <= len(view) and bytes(view[end : end + 2]) == b"\x02\x00":
        raise MalformedError("its group length stops short of its end")
    sop_class = found.get(SOP_CLASS)
    return FileMeta(text(view, syntax), text(view, sop_class) if sop_class else "", found, group_length, end)


def _elements(view: memoryview, offset: int) -> dict[int, Element]:
    found: dict[int, Element] = {}
    while offset < len(view):
        element = read_element(view, offset, implicit=False)
        if element.tag >> 16 != 2 or element.tag in found or len(found) == _MAX_ELEMENTS:
            raise MalformedError("foreign, repeated or too many elements")
        found[element.tag] = element
        offset = element.end
    return found
