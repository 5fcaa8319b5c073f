"""The decoders of each compression. Where there are two that share no code, both decode and must agree.

| stream | decoder | compared with |
|---|---|---|
| RLE | pylibjpeg-rle | imagecodecs' PackBits |
| JPEG lossless | libjpeg-turbo | jpegsof3 |
| JPEG-LS | CharLS | (no other) |
| JPEG 2000 | OpenJPEG | (no other) |
| HTJ2K | OpenJPH | OpenJPEG |
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import streams
from .protocol import Family, FrameRequest

Decode = Callable[[bytes, FrameRequest], Any]


class DisagreeError(Exception):
    """Two decoders gave back different pixels."""


class Decoders:
    """All decoders, loaded at once: afterwards the process can open no file any more."""

    def __init__(self) -> None:
        import imagecodecs
        from rle.utils import decode_pixel_data

        # Loaded on first access.
        jpeg8, sof3, jpegls = imagecodecs.jpeg8_decode, imagecodecs.jpegsof3_decode, imagecodecs.jpegls_decode
        jpeg2k, htj2k = imagecodecs.jpeg2k_decode, imagecodecs.htj2k_decode
        packbits = imagecodecs.packbits_decode

        def turbo(stream: bytes, request: FrameRequest) -> Any:
            # The same colour space in and out: nothing is converted, whatever markers there are.
            space = "RGB" if request.samples == 3 else "GRAYSCALE"
            return jpeg8(stream, colorspace=space, outcolorspace=space)

        def openjpeg(stream: bytes, _: FrameRequest) -> Any:
            return jpeg2k(stream, planar=False, numthreads=1)

        def rust_rle(stream: bytes, request: FrameRequest) -> Any:
            raw = decode_pixel_data(
                stream, version=2, rows=request.rows, columns=request.columns, bits_allocated=request.bits_allocated
            )
            flat = np.frombuffer(raw, f"<u{request.bits_allocated // 8}")
            return flat.reshape(request.samples, request.rows, request.columns).transpose(1, 2, 0)

        def packbits_rle(stream: bytes, request: FrameRequest) -> Any:
            width, size = request.bits_allocated // 8, request.rows * request.columns
            segments = streams.rle_segments(stream, request.samples * width)
            planes = []
            for start, end in segments:
                # Room for the padding that may follow, and to see one that is too long.
                plane = np.frombuffer(packbits(stream[start:end], out=size + 256), "u1")
                if plane.size < size:
                    raise ValueError("an RLE segment that is cut short")
                planes.append(plane[:size])
            # By sample, most significant byte first (PS3.5 G.2).
            by_byte = np.stack(planes).reshape(request.samples, width, size)[:, ::-1]
            flat = np.ascontiguousarray(by_byte.transpose(0, 2, 1)).view(f"<u{width}")
            return flat.reshape(request.samples, request.rows, request.columns).transpose(1, 2, 0)

        self._decoders: dict[int, tuple[Decode, ...]] = {
            Family.RLE: (rust_rle, packbits_rle),
            Family.JPEG_LOSSLESS: (turbo, lambda stream, _: sof3(stream)),
            Family.JPEG_LS: (lambda stream, _: jpegls(stream),),
            Family.JPEG_2000: (openjpeg,),
            Family.HTJ2K: (lambda stream, _: htj2k(stream, planar=False), openjpeg),
        }

    def decode(self, stream: bytes, request: FrameRequest) -> bytes:
        """The frame's samples as they lie in native little endian pixel data, by pixel.

        Raises:
            DisagreeError: two decoders gave back different pixels.
            Exception: whatever the libraries raise; the stream is damaged, or not what was asked for.
        """
        streams.check(stream, request)
        first, *others = (_samples(decode(stream, request), request) for decode in self._decoders[request.family])
        if any(not np.array_equal(first, other) for other in others):
            raise DisagreeError("two decoders gave back different pixels")
        content: bytes = first.tobytes()
        return content


def _samples(decoded: Any, request: FrameRequest) -> Any:
    """The decoded array as unsigned samples of the container's size, rows x columns x samples.

    Raises:
        ValueError: it has another shape or size.
    """
    array = np.asarray(decoded)
    wanted = (request.rows, request.columns, request.samples)
    if array.shape != wanted and (request.samples != 1 or array.shape != wanted[:2]):
        raise ValueError(f"decoded to {array.shape}")
    width = request.bits_allocated // 8
    if array.dtype.kind not in "iu" or array.dtype.itemsize > width:
        raise ValueError(f"decoded to {array.dtype}")
    # Fewer bits in a wider container: extended by zeros, or by the sign where there is one.
    array = array.astype(f"<{array.dtype.kind}{width}", copy=False)
    return np.ascontiguousarray(array).view(f"<u{width}").reshape(wanted)
