"""Which SOP instance a DICOM file holds, and where its data set begins: DICOM PS3.10 section 7.1."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

_LONG_LENGTH = frozenset({b"OB", b"OW", b"UN", b"SQ", b"UT"})
_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX = 0x0002, 0x0003, 0x0010


class NotPart10Error(ValueError):
    """The file has no file meta information that tells what it is; the message is one line."""


class Instance(NamedTuple):
    """What a C-STORE needs of a file."""

    sop_class: str
    sop_instance_uid: str
    transfer_syntax: str
    dataset: bytes


def read(path: Path) -> Instance:
    """Reads a file whole.

    Raises:
        NotPart10Error: no preamble, no group length, or one of the three UIDs is missing.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    if data[128:132] != b"DICM" or data[132:140] != b"\x02\0\0\0UL\x04\0":
        raise NotPart10Error(f"{path}: not a DICOM file (no preamble with file meta information)")
    end = 144 + struct.unpack_from("<I", data, 140)[0]
    if end > len(data):
        raise NotPart10Error(f"{path}: ends within its file meta information")
    values = _meta(data[144:end])
    try:
        sop_class, sop_instance_uid, transfer_syntax = (
            values[tag].rstrip(b"\0 ").decode("ascii") for tag in (_SOP_CLASS, _SOP_INSTANCE, _TRANSFER_SYNTAX)
        )
    except (KeyError, UnicodeDecodeError):
        raise NotPart10Error(f"{path}: its file meta information lacks a UID") from None
    return Instance(sop_class, sop_instance_uid, transfer_syntax, data[end:])


def _meta(data: bytes) -> dict[int, bytes]:
    """Element number -> value of group 2, which is always explicit VR little endian."""
    found, at = {}, 0
    while at + 8 <= len(data):
        element, kind, length = struct.unpack_from("<2xH2sH", data, at)
        at += 8
        if kind in _LONG_LENGTH:
            if at + 4 > len(data):
                break
            (length,) = struct.unpack_from("<I", data, at)
            at += 4
        found[element] = data[at : at + length]
        at += length
    return found
