"""File meta information (PS3.10 7.1): found, read, and rewritten with another transfer syntax."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from .elements import Element, read_element
from .outcome import KeptError, Reason

PREAMBLE_BYTES = 128
_FIRST = PREAMBLE_BYTES + 4
_GROUP_LENGTH = 0x00020000
_MEDIA_STORAGE_SOP_CLASS = 0x00020002
_MEDIA_STORAGE_SOP_INSTANCE = 0x00020003
_TRANSFER_SYNTAX = 0x00020010
_MAXIMUM_ELEMENTS = 64  # PS3.10 table 7.1-1 has 20; private information may add a few
_LONGEST_UID = 64
_UID = re.compile(r"[0-9.]+")
_UI_HEADER = struct.Struct("<HH2sH")


@dataclass(frozen=True, slots=True)
class FileMeta:
    """Where the file meta information lies; offsets count from the start of the file, ``end`` is where the data set starts."""

    transfer_syntax: str
    sop_class: str
    syntax_element: Element
    group_length: int
    end: int


def text(view: memoryview, element: Element) -> str:
    """The value as text, padding removed (PS3.5 6.2). ASCII is enough for UI, CS and IS; else bytes show as escapes."""
    return bytes(view[element.value : element.end]).decode("ascii", "backslashreplace").strip(" \0")


def read_file_meta(view: memoryview) -> FileMeta:
    """Read the file meta information.

    Raises:
        KeptError: no preamble or prefix, or file meta information that contradicts itself.
    """
    if len(view) < _FIRST or bytes(view[PREAMBLE_BYTES:_FIRST]) != b"DICM":
        raise KeptError(Reason.NOT_DICOM, "no preamble and DICM prefix")
    try:
        return _read(view)
    except (struct.error, KeptError) as error:
        detail = error.detail if isinstance(error, KeptError) else "the file ends within it"
        raise KeptError(Reason.MALFORMED_META, detail) from None


def _read(view: memoryview) -> FileMeta:
    first = read_element(view, _FIRST, implicit=False)
    if (first.tag, first.vr, first.length) != (_GROUP_LENGTH, b"UL", 4):
        raise KeptError(Reason.MALFORMED_META, "no group length")
    (group_length,) = struct.unpack_from("<L", view, first.value)
    end = first.end + group_length
    if end > len(view):
        raise KeptError(Reason.MALFORMED_META, "its group length goes beyond the end of the file")
    found = _elements(view[:end], first.end)
    syntax = found.get(_TRANSFER_SYNTAX)
    # The text ends up in logs and on pages: digits and dots only, and no more of them than a UID has (PS3.5 9.1).
    if syntax is None or syntax.length > _LONGEST_UID or not _UID.fullmatch(text(view, syntax)):
        raise KeptError(Reason.MALFORMED_META, "no transfer syntax UID")
    # A group length that stops short leaves meta elements where the data set should start.
    if end + 2 <= len(view) and bytes(view[end : end + 2]) == b"\x02\x00":
        raise KeptError(Reason.MALFORMED_META, "its group length stops short of its end")
    sop_class = found.get(_MEDIA_STORAGE_SOP_CLASS)
    return FileMeta(text(view, syntax), text(view, sop_class) if sop_class else "", syntax, group_length, end)


def _elements(view: memoryview, offset: int) -> dict[int, Element]:
    found: dict[int, Element] = {}
    while offset < len(view):
        element = read_element(view, offset, implicit=False)
        if element.tag >> 16 != 2 or element.tag in found or len(found) == _MAXIMUM_ELEMENTS:
            raise KeptError(Reason.MALFORMED_META, "foreign, repeated or too many elements")
        found[element.tag] = element
        offset = element.end
    return found


def sop_instance_of(view: memoryview, meta: FileMeta) -> str:
    """Media Storage SOP Instance UID, empty when absent."""
    element = _elements(view[: meta.end], _FIRST + 12).get(_MEDIA_STORAGE_SOP_INSTANCE)
    return text(view, element) if element else ""


def with_sop_instance(view: memoryview, meta: FileMeta, uid: str) -> bytes:
    """Preamble, prefix and file meta information with another Media Storage SOP Instance UID, see `with_transfer_syntax`.

    Raises:
        KeptError: there is none.
    """
    element = _elements(view[: meta.end], _FIRST + 12).get(_MEDIA_STORAGE_SOP_INSTANCE)
    if element is None:
        raise KeptError(Reason.MALFORMED_META, "no SOP Instance UID")
    return _with_uid(view, meta, element, uid)


def with_transfer_syntax(view: memoryview, meta: FileMeta, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information with another transfer syntax UID.

    Only that value and the group length change; every other byte, the preamble and private information included, stays.
    """
    return _with_uid(view, meta, meta.syntax_element, transfer_syntax)


def _with_uid(view: memoryview, meta: FileMeta, old: Element, value: str) -> bytes:
    uid = value.encode("ascii")
    uid += b"\0" * (len(uid) % 2)  # PS3.5 6.2: UI is padded with NULL to an even length
    grown = meta.group_length + 8 + len(uid) - (old.end - old.start)
    return b"".join(
        (
            view[: _FIRST + 8],
            struct.pack("<L", grown),
            view[_FIRST + 12 : old.start],
            _UI_HEADER.pack(old.tag >> 16, old.tag & 0xFFFF, b"UI", len(uid)),
            uid,
            view[old.end : meta.end],
        )
    )
