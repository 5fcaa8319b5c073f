"""Finds out where the data set of a received file may begin and how it is encoded, and inflates it if it is deflated.

Not the reader of `dicom.file_meta`, which refuses file meta information that contradicts itself: DCMTK reads on, and
so does this.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from dicom import uids
from dicom.elements import EXPLICIT_HEADER
from dicom.file_meta import FIRST_ELEMENT, has_prefix

from .walk import BIG_ENDIAN, EXPLICIT, IMPLICIT, Encoding

# Deflated Explicit VR Little Endian and JPIP Referenced Deflate (PS3.5 A.5 and A.7): what DCMTK inflates as a whole.
_DEFLATED = (uids.DEFLATED_LITTLE_ENDIAN, "1.2.840.10008.1.2.4.95")
_SYNTAX = re.compile(rb"\x02\x00\x10\x00UI..([0-9.]+)", re.DOTALL)
_CHUNK_BYTES = 1 << 20
_LONG_VRS = frozenset({b"OB", b"OW", b"UN", b"UT", b"SQ"})
_VR = re.compile(rb"[A-Z]{2}")


class Received:
    """What the file meta information says (PS3.10 7.1), if there is any. Nothing in it is trusted.

    Attributes:
        meta_end: where the elements of group 2 end. Beyond the file's end where one of them claims to.
        starts: where the data set may begin: where the group length points, which is where DCMTK reads on, and
            ``meta_end``.
        deflated: whether the data set is.
        encoding: how it is encoded.
    """

    def __init__(self, dicom: bytes) -> None:
        first = FIRST_ELEMENT if has_prefix(dicom) else 0
        self.meta_end = _after_group_2(dicom, first)
        found = [self.meta_end]
        if dicom.startswith(b"\x02\0\0\0UL\4\0", first):
            found.insert(0, first + 12 + int.from_bytes(dicom[first + 8 : first + 12], "little"))
        self.starts = tuple(dict.fromkeys(start for start in found if start < len(dicom)))
        named = _SYNTAX.search(dicom, first, max((self.meta_end, *self.starts)))
        syntax = named[1].decode("ascii") if named else ""
        self.deflated = syntax in _DEFLATED
        self.encoding = _encoding(syntax, dicom[self.meta_end + 4 : self.meta_end + 6])


def _encoding(syntax: str, vr: bytes) -> Encoding:
    """What the transfer syntax says; where there is none DCMTK looks at the first element, and so do we."""
    if syntax == uids.EXPLICIT_BIG_ENDIAN:
        return BIG_ENDIAN
    if syntax == uids.IMPLICIT_LITTLE_ENDIAN or (not syntax and not _VR.fullmatch(vr)):
        return IMPLICIT
    return EXPLICIT


def _after_group_2(dicom: bytes, offset: int) -> int:
    while offset + 12 <= len(dicom):
        group, _, vr, length = EXPLICIT_HEADER.unpack_from(dicom, offset)
        if group != 2:
            break
        if vr in _LONG_VRS:
            length = 4 + int.from_bytes(dicom[offset + 8 : offset + 12], "little")
        offset += 8 + length
    return offset


def inflate(deflated: memoryview) -> Iterator[bytes]:
    """The inflated bytes in pieces, as far as they go: a parser would have begun with them before it met the damage."""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    pending: bytes | memoryview = deflated
    try:
        while pending and not stream.eof:
            yield stream.decompress(pending, _CHUNK_BYTES)
            pending = stream.unconsumed_tail
        yield stream.flush()
    except zlib.error:
        return
