"""JPEG lossless (.70) and JPEG-LS lossless (.80)."""

from __future__ import annotations

from typing import Any, cast

from ..input.pixels import Layout, Samples
from . import lossless_jpeg
from .binding import own_libraries_first
from .codec import Codec


class JpegLossless(Codec):
    """JPEG lossless, process 14 selection value 1 (.70, PS3.5 A.4.1 and 10.2).

    `lossless_jpeg` encodes, libjpeg-turbo decodes.

    Unsigned samples are written with Bits Stored as precision. Streams have no sign: with precision 12 DCMTK gives
    signed pixels back with their four sign bits zeroed, with precision 16 (what DCMTK's and GDCM's own encoders write,
    whatever Bits Stored is) all readers give all 16 bits. So signed samples are written as they lie in their container.
    Decoders size their samples by the precision: at least 9 bits in 16-bit samples, and 2 in 8-bit ones.
    """

    def __init__(self) -> None:
        import imagecodecs

        with own_libraries_first():
            # Loaded on first access.
            self._decode = imagecodecs.jpeg8_decode

    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """See the class. Colour is not converted, and the stream says the same as Photometric Interpretation."""
        narrowest = 2 if layout.bits_allocated == 8 else 9
        exact = not layout.signed and layout.bits_stored >= narrowest
        precision = layout.bits_stored if exact else layout.bits_allocated
        return lossless_jpeg.encode(frame, precision, rgb=layout.photometric == "RGB")

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class."""
        return self._decode(stream)


class JpegLs(Codec):
    """JPEG-LS lossless (.80, PS3.5 A.4.3), by CharLS: precision is the container's, samples are unsigned.

    Streams have no sign, and errors are taken modulo the range, so sign-extended values near zero cost nothing. The
    precision equals Bits Allocated, as with DCMTK's encoder; all three readers return every bit.
    """

    _SOF55 = b"\xff\xf7"
    _APP8 = b"\xff\xe8"

    def __init__(self) -> None:
        import imagecodecs

        self._encode, self._decode = imagecodecs.jpegls_encode, imagecodecs.jpegls_decode
        self._error = cast("type[Exception]", imagecodecs.JpeglsError)

    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """See the class. Noise outgrows the library's buffer: then once more with a larger one."""
        try:
            stream = self._encode(frame)
        except self._error:
            stream = self._encode(frame, out=2 * frame.nbytes + 65536)
        return self._without_spiff(bytes(stream))

    def _without_spiff(self, stream: bytes) -> bytes:
        """Cut the SPIFF header out: it names a colour space of its own, and DICOM readers look for SOF first."""
        after = 2
        while stream[after : after + 2] == self._APP8:
            after += 2 + int.from_bytes(stream[after + 2 : after + 4], "big")
        if stream[after : after + 2] != self._SOF55:
            raise ValueError("JPEG-LS: no frame header where it was expected")
        return stream[:2] + stream[after:]

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class."""
        return self._decode(stream)
