"""Inflates Deflated Explicit VR Little Endian (PS3.5 A.5) up to a fixed number of bytes."""

from __future__ import annotations

import struct
import zlib

from ..outcome import KeptError, Reason

_RAW_DEFLATE = -15  # RFC 1951 without the zlib header, as PS3.5 A.5 asks
_FIRST_BYTES = 1 << 20


def inflate(deflated: memoryview, maximum_bytes: int) -> bytes:
    """The data set that ``deflated`` holds.

    Raises:
        KeptError: not a deflate stream, cut short, followed by more than the one byte of padding the standard allows,
            or larger than ``maximum_bytes``. A gzip trailer that agrees with the data is let pass.
    """
    stream = zlib.decompressobj(_RAW_DEFLATE)
    try:
        # In two steps, so that a small file does not reserve the whole bound.
        head = stream.decompress(deflated, min(_FIRST_BYTES, maximum_bytes))
        tail = b""
        if not stream.eof and len(head) < maximum_bytes:
            tail = stream.decompress(stream.unconsumed_tail, maximum_bytes - len(head))
    except zlib.error as error:
        raise KeptError(Reason.INFLATE, str(error)) from None
    if not stream.eof:
        raise KeptError(Reason.INFLATE, f"cut short, or larger than {maximum_bytes} bytes")
    inflated = head + tail
    if stream.unused_data not in (b"", b"\0", _gzip_trailer(inflated)):
        raise KeptError(Reason.INFLATE, "bytes after the end of the deflate stream")
    return inflated


def _gzip_trailer(inflated: bytes) -> bytes:
    """The trailer that gzip (RFC 1952) puts after a deflate stream. Some writers leave it in place."""
    return struct.pack("<LL", zlib.crc32(inflated), len(inflated) & 0xFFFFFFFF)
