"""Makes files of nested sequences, in every way the standard allows: they crash an Orthanc without the guard."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

UNDEFINED = 0xFFFFFFFF
SEQUENCE = (0x0008, 0x1140)  # Referenced Image Sequence
PRIVATE = (0x0029, 0x1010)

# One nest: how many sequences within one another -> bytes of a data set.
Nest = Callable[[int], bytes]


def explicit_undefined(depth: int, order: str = "<", tag: tuple[int, int] = SEQUENCE, vr: bytes = b"SQ") -> bytes:
    """SQ and items of undefined length."""
    opening = struct.pack(f"{order}HH2sHLHHL", *tag, vr, 0, UNDEFINED, 0xFFFE, 0xE000, UNDEFINED)
    return opening * depth + _closing(order) * depth


def big_endian(depth: int) -> bytes:
    """The same, every number the other way round."""
    return explicit_undefined(depth, ">")


def private(depth: int) -> bytes:
    """Private SQ."""
    return explicit_undefined(depth, tag=PRIVATE)


def unknown(depth: int) -> bytes:
    """UN of undefined length: what is in it is implicit VR (PS3.5 6.2.2 note 2)."""
    opening = struct.pack("<HH2sHL", *PRIVATE, b"UN", 0, UNDEFINED) + struct.pack("<HHL", 0xFFFE, 0xE000, UNDEFINED)
    return opening + implicit_undefined(depth - 1) + _closing("<")


def implicit_undefined(depth: int) -> bytes:
    """Implicit VR, undefined length."""
    return struct.pack("<HHLHHL", *SEQUENCE, UNDEFINED, 0xFFFE, 0xE000, UNDEFINED) * depth + _closing("<") * depth


def implicit_defined(depth: int) -> bytes:
    """Implicit VR, defined length: no delimiters."""
    sizes = [16 * level for level in range(depth, 0, -1)]
    return b"".join(struct.pack("<HHLHHL", *SEQUENCE, size - 8, 0xFFFE, 0xE000, size - 16) for size in sizes)


def explicit_defined(depth: int) -> bytes:
    """Explicit VR, defined length."""
    sizes = [20 * level for level in range(depth, 0, -1)]
    pack = struct.Struct("<HH2sHLHHL").pack
    return b"".join(pack(*SEQUENCE, b"SQ", 0, size - 12, 0xFFFE, 0xE000, size - 20) for size in sizes)


def _closing(order: str) -> bytes:
    return struct.pack(f"{order}HHLHHL", 0xFFFE, 0xE00D, 0, 0xFFFE, 0xE0DD, 0)


# What each is called, its transfer syntax, and how its data set is made.
NESTS: dict[str, tuple[UID, Nest]] = {
    "explicit, undefined length": (ExplicitVRLittleEndian, explicit_undefined),
    "explicit, defined length": (ExplicitVRLittleEndian, explicit_defined),
    "private SQ": (ExplicitVRLittleEndian, private),
    "UN of undefined length": (ExplicitVRLittleEndian, unknown),
    "implicit, undefined length": (ImplicitVRLittleEndian, implicit_undefined),
    "implicit, defined length": (ImplicitVRLittleEndian, implicit_defined),
    "big endian": (ExplicitVRBigEndian, big_endian),
    "deflated": (DeflatedExplicitVRLittleEndian, explicit_undefined),
}


_META = (
    ((0x0002, 0x0002), b"UI", b"1.2.840.10008.5.1.4.1.1.7"),
    ((0x0002, 0x0003), b"UI", b"1.2.3.4.5"),
)
_BEFORE = (
    ((0x0008, 0x0016), b"UI", b"1.2.840.10008.5.1.4.1.1.7"),
    ((0x0008, 0x0018), b"UI", b"1.2.3.4.5"),
)
_AFTER = (
    ((0x0010, 0x0020), b"LO", b"nested"),
    ((0x0020, 0x000D), b"UI", b"1.2.3"),
    ((0x0020, 0x000E), b"UI", b"1.2.3.4"),
)


def nested_file(name: str, depth: int) -> bytes:
    """A complete file: file meta information, what identifies an instance, and the nest."""
    syntax, nest = NESTS[name]
    return file_around(nest(depth), syntax)


def file_around(nest: bytes, syntax: UID) -> bytes:
    """Puts what identifies an instance before a data set's further elements, and file meta information before all."""
    before, after = (b"".join(_text(*text, syntax) for text in texts) for texts in (_BEFORE, _AFTER))
    in_group_8 = nest[:2] in (b"\x08\x00", b"\x00\x08")
    data_set = before + nest + after if in_group_8 else before + after + nest
    if syntax == DeflatedExplicitVRLittleEndian:
        deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
        data_set = deflate.compress(data_set) + deflate.flush()
    meta = b"".join(
        _text(*text, ExplicitVRLittleEndian) for text in (*_META, ((0x0002, 0x0010), b"UI", syntax.encode()))
    )
    head = b"\0" * 128 + b"DICM" + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(meta))
    return head + meta + data_set


def _text(tag: tuple[int, int], vr: bytes, value: bytes, syntax: UID) -> bytes:
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    if syntax == ImplicitVRLittleEndian:
        return struct.pack("<HHL", *tag, len(value)) + value
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    return struct.pack(f"{order}HH2sH", *tag, vr, len(value)) + value
