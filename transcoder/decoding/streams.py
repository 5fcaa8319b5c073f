"""Checks the head of a code stream before a decoder reads it.

The image in a stream may be larger than its DICOM attributes say, have another sign, or be lossy. The check is in plain
Python, which does not crash. Errors are ValueError, IndexError and struct.error: after any of them the stream is not
decoded.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from .protocol import Family, FrameRequest

_SIZ = struct.Struct(">HLLLLLLLLH")
_MAX_MARKERS = 100_000
_END = b"\xff\xd9"
"""EOI of JPEG and JPEG-LS, EOC of JPEG 2000."""


@dataclass(frozen=True, slots=True)
class StreamHead:
    """The image as the stream describes it; ``signed`` is None where streams have no sign."""

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool | None = None
    transformed: bool = False


def check(stream: bytes, request: FrameRequest) -> None:
    """Compare the head of a stream with the request.

    Raises:
        ValueError, IndexError, struct.error: it is another image, may be lossy, or cannot be given back exactly.
    """
    if request.family == Family.RLE:
        rle_segments(stream, request.samples * (request.bits_allocated // 8))
        return
    head = _jpeg_2000(stream) if request.family in (Family.JPEG_2000, Family.HTJ2K) else _jpeg(stream, request.family)
    found = (head.rows, head.columns, head.samples)
    wanted = (request.rows, request.columns, request.samples)
    if found != wanted:
        raise ValueError(
            f"the stream is {found[0]} x {found[1]} x {found[2]}, the instance {' x '.join(map(str, wanted))}"
        )
    if head.precision > request.bits_allocated:
        raise ValueError(f"{head.precision} bits in the stream, {request.bits_allocated} allocated")
    if head.signed is None:
        # Such streams have no sign: with fewer bits than the container, each decoder sets the sign bits in its own way.
        if request.signed and head.precision != request.bits_allocated:
            raise ValueError(f"signed pixels in a stream of {head.precision} bits, which has no sign")
    elif head.signed != request.signed:
        raise ValueError("the stream and Pixel Representation disagree about the sign")
    if head.transformed and not request.transformed:
        raise ValueError("a colour transformation in an image that is not RGB")


def rle_segments(stream: bytes, expected: int) -> list[tuple[int, int]]:
    """Where each segment begins and ends (PS3.5 G.5).

    Raises:
        ValueError, struct.error: other segments than expected.
    """
    count, *offsets = struct.unpack_from("<16L", stream)
    starts = offsets[:count]
    if count != expected or any(offsets[count:]):
        raise ValueError(f"{count} RLE segments where {expected} were due")
    ends = [*starts[1:], len(stream)]
    if starts[0] != 64 or any(start >= end for start, end in zip(starts, ends, strict=True)):
        raise ValueError("RLE segments out of order")
    return list(zip(starts, ends, strict=True))


def _jpeg(stream: bytes, family: int) -> StreamHead:
    """JPEG lossless (ITU-T T.81 B.2) and JPEG-LS (ITU-T T.87 C.1), up to and with the first scan header."""
    wanted = 0xF7 if family == Family.JPEG_LS else 0xC3
    if stream[:2] != b"\xff\xd8":
        raise ValueError("no SOI marker")
    # Decoders fill up what is missing, each in its own way.
    if not stream.rstrip(b"\0").endswith(_END):
        raise ValueError("no EOI marker at the end: cut short")
    head: StreamHead | None = None
    offset = 2
    while True:
        if stream[offset] != 0xFF:
            raise ValueError(f"no marker at byte {offset}")
        marker = stream[offset + 1]
        if marker == 0xFF:  # a fill byte
            offset += 1
            continue
        (size,) = struct.unpack_from(">H", stream, offset + 2)
        segment = stream[offset + 4 : offset + 2 + size]
        if marker == wanted:
            if head is not None:
                raise ValueError("two frame headers")
            head = _frame_header(segment)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise ValueError(f"frame header FF{marker:02X} where FF{wanted:02X} was due")
        elif marker == 0xE8 and segment[:4] == b"mrfx" and segment[4:5] != b"\0":
            raise ValueError("a colour transformation outside of the standard")
        elif marker == 0xEE and segment[:5] == b"Adobe" and segment[11:12] not in (b"\0", b""):
            raise ValueError("an Adobe marker that tells of a colour transformation")
        elif marker == 0xDA:
            if head is None:
                raise ValueError("a scan before the frame header")
            _check_scan(segment, family)
            _check_end(stream, offset)
            return head
        offset += 2 + size


def _frame_header(segment: bytes) -> StreamHead:
    precision, rows, columns, samples = struct.unpack_from(">BHHB", segment)
    if samples > 1 and any(segment[7 + 3 * number] != 0x11 for number in range(samples)):
        raise ValueError("subsampled components")
    return StreamHead(rows, columns, samples, precision)


def _check_scan(segment: bytes, family: int) -> None:
    """The last three bytes: NEAR and interleaving of JPEG-LS; predictor, and point transformation, of JPEG lossless."""
    first, _, last = segment[1 + 2 * segment[0] :][:3]
    if family == Family.JPEG_LS and first != 0:
        raise ValueError(f"near-lossless, with errors up to {first}")
    if last != 0:
        raise ValueError("a point transformation")
    if family == Family.JPEG_LOSSLESS and not 1 <= first <= 7:
        raise ValueError(f"predictor {first}")


def _check_end(stream: bytes, offset: int) -> None:
    """Refuse a second image after the first, which decoders ignore.

    Entropy-coded data has no FFD9 in it (T.81 B.1.1.5, T.87 A.1).
    """
    if stream[stream.index(_END, offset) + 2 :].strip(b"\0"):
        raise ValueError("more than one image")


def _jpeg_2000(stream: bytes) -> StreamHead:
    """JPEG 2000 and HTJ2K: the main header and those of all tile-parts (ISO/IEC 15444-1 A.4 to A.6)."""
    if stream[:4] != b"\xff\x4f\xff\x51":
        raise ValueError("no SOC and SIZ markers")
    _, width, height, left, top, _, _, _, _, samples = _SIZ.unpack_from(stream, 6)
    components = {stream[42 + 3 * number : 45 + 3 * number] for number in range(samples)}
    if len(components) != 1:
        raise ValueError("components of several kinds, or none")
    depth, across, down = components.pop()
    if (across, down) != (1, 1):
        raise ValueError("subsampled components")
    transformed = _check_reversible(stream, samples)
    return StreamHead(height - top, width - left, samples, (depth & 0x7F) + 1, bool(depth & 0x80), transformed)


def _check_reversible(stream: bytes, samples: int) -> bool:
    """Walk the markers; whether there is a multiple component transformation.

    Only with the reversible wavelet is it defined to the bit what a decoder gives back.
    """
    offset, transformed, coded, tile_ends = 2, False, False, 0
    for _ in range(_MAX_MARKERS):
        (marker,) = struct.unpack_from(">H", stream, offset)
        if marker == 0xFF93:  # SOD: on to the next tile-part, or the end
            offset = tile_ends
            if stream[offset : offset + 2] == _END:
                if stream[offset + 2 :].strip(b"\0"):
                    raise ValueError("something after the end of the image")
                return transformed
            continue
        (size,) = struct.unpack_from(">H", stream, offset + 2)
        segment = stream[offset + 4 : offset + 2 + size]
        if marker == 0xFF90:  # SOT
            if not coded:
                raise ValueError("a tile-part before the coding style")
            (length,) = struct.unpack_from(">L", segment, 2)
            tile_ends = offset + length if length else stream.index(_END, offset)
            if tile_ends < offset + 14 or tile_ends > len(stream):
                raise ValueError("a tile-part without content, or cut short")
        elif marker in (0xFF52, 0xFF53):  # COD, COC
            if tile_ends:
                raise ValueError("a coding style of its own for one tile")
            skipped = (2 if samples > 256 else 1) if marker == 0xFF53 else 4
            if segment[skipped + 5] != 1:
                raise ValueError("the irreversible wavelet")
            if marker == 0xFF52:
                coded, transformed = True, segment[4] != 0
        offset += 2 + size
    raise ValueError("too many markers")
