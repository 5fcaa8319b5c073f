"""The messages between this process and the worker: fixed binary structures and bytes, safe to read from anyone."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

RLE_LOSSLESS = "1.2.840.10008.1.2.5"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.57"
JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"


class Family(IntEnum):
    """Compressions, as requests number them."""

    RLE = 1
    JPEG_LOSSLESS = 2
    JPEG_LS = 3
    JPEG_2000 = 4
    HTJ2K = 5


FAMILIES = {
    RLE_LOSSLESS: Family.RLE,
    JPEG_LOSSLESS: Family.JPEG_LOSSLESS,
    JPEG_LOSSLESS_SV1: Family.JPEG_LOSSLESS,
    JPEG_LS_LOSSLESS: Family.JPEG_LS,
    JPEG_2000_LOSSLESS: Family.JPEG_2000,
    HTJ2K_LOSSLESS: Family.HTJ2K,
    HTJ2K_LOSSLESS_RPCL: Family.HTJ2K,
}
"""The family of each transfer syntax that is lossless by definition: a stream has exactly one decoded image."""


class Status(IntEnum):
    """How a reply begins. What follows is the pixels with DECODED, a text with the others."""

    READY = 1
    DECODED = 2
    REFUSED = 3
    DISAGREE = 4
    OUT_OF_MEMORY = 5


@dataclass(frozen=True, slots=True)
class FrameRequest:
    """One frame to decode, as the attributes of its instance describe it; the stream follows.

    Attributes:
        family: a `Family`.
        bits_allocated: 8 or 16, the size of the samples to give back.
        signed: Pixel Representation.
        transformed: whether a colour transformation in the stream may be undone: the image is RGB.
        budget_ms: how long decoding may take.
        stream_bytes: length of the stream.
    """

    family: int
    rows: int
    columns: int
    samples: int
    bits_allocated: int
    signed: bool
    transformed: bool
    budget_ms: int
    stream_bytes: int

    def pack(self) -> bytes:
        """The request as it is sent."""
        return REQUEST.pack(
            self.family,
            self.rows,
            self.columns,
            self.samples,
            self.bits_allocated,
            self.signed,
            self.transformed,
            self.budget_ms,
            self.stream_bytes,
        )

    @property
    def frame_bytes(self) -> int:
        """Bytes of the decoded frame."""
        return self.rows * self.columns * self.samples * (self.bits_allocated // 8)


REQUEST = struct.Struct("<BHHBB??LQ")
REPLY = struct.Struct("<BQ")
MAX_TEXT_BYTES = 512
"""Of a reply that is a text."""


def unpack_request(packed: bytes) -> FrameRequest:
    """The request that `FrameRequest.pack` made."""
    return FrameRequest(*REQUEST.unpack(packed))
