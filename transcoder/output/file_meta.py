"""File meta information (PS3.10 7.1) rewritten with another UID; every other byte stays."""

from __future__ import annotations

import struct

from dicom.elements import Element
from dicom.file_meta import FIRST_ELEMENT, SOP_INSTANCE, TRANSFER_SYNTAX, FileMeta

from ..outcome import KeptError, Reason

_UI_HEADER = struct.Struct("<HH2sH")


def with_sop_instance(view: memoryview, meta: FileMeta, uid: str) -> bytes:
    """Preamble, prefix and file meta information with another Media Storage SOP Instance UID.

    Only that value and the group length change, as in `with_transfer_syntax`.

    Raises:
        KeptError: there is none.
    """
    element = meta.elements.get(SOP_INSTANCE)
    if element is None:
        raise KeptError(Reason.MALFORMED_META, "no SOP Instance UID")
    return _with_uid(view, meta, element, uid)


def with_transfer_syntax(view: memoryview, meta: FileMeta, transfer_syntax: str) -> bytes:
    """Preamble, prefix and file meta information with another transfer syntax UID.

    Only that value and the group length change; every other byte, the preamble and private information included, stays.
    """
    return _with_uid(view, meta, meta.elements[TRANSFER_SYNTAX], transfer_syntax)


def _with_uid(view: memoryview, meta: FileMeta, old: Element, value: str) -> bytes:
    uid = value.encode("ascii")
    uid += b"\0" * (len(uid) % 2)  # PS3.5 6.2: UI is padded with NULL to an even length
    grown = meta.group_length + 8 + len(uid) - (old.end - old.start)
    return b"".join(
        (
            view[: FIRST_ELEMENT + 8],
            struct.pack("<L", grown),
            view[FIRST_ELEMENT + 12 : old.start],
            _UI_HEADER.pack(old.tag >> 16, old.tag & 0xFFFF, b"UI", len(uid)),
            uid,
            view[old.end : meta.end],
        )
    )
