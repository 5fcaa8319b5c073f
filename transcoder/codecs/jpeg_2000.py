"""JPEG 2000 lossless (.90) and High-Throughput JPEG 2000 lossless (.201, .202)."""

from __future__ import annotations

from typing import Any

from ..input.pixels import Layout, Samples
from .codec import Codec, as_stored


class Jpeg2000(Codec):
    """JPEG 2000 lossless (.90, PS3.5 A.4.4), by OpenJPEG, without multiple component transformation.

    Precision is Bits Stored and the sign is Pixel Representation's (PS3.5 8.2.4 wants both consistent with the stream):
    with precision 16 for 12 bits GDCM rewrites Bits Stored on decompressing, and unsigned for signed costs half the
    ratio. Without a transformation the components are what Photometric Interpretation says, so RGB and YBR_FULL stay as
    they are. Where 8 bits or fewer are stored in 16 the precision is 16: pylibjpeg-openjpeg and GDCM size their samples
    by it.
    """

    def __init__(self) -> None:
        import imagecodecs

        self._encode, self._decode = imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode

    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """See the class."""
        narrow = layout.bits_allocated == 16 and layout.bits_stored <= 8
        return bytes(
            self._encode(
                as_stored(frame, layout),
                level=0,
                codecformat="j2k",
                reversible=True,
                mct=False,
                planar=False,
                bitspersample=16 if narrow else layout.bits_stored,
                numthreads=1,
            )
        )

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class."""
        return self._decode(stream, planar=False, numthreads=1)


class HighThroughputJpeg2000(Codec):
    """HTJ2K lossless (.201, PS3.5 A.4.4 and table 8.2.4-1), by OpenJPH, without multiple component transformation.

    The binding takes the precision from the array: 16 for 12 bits stored. It is corrected afterwards in the SIZ marker
    segment (ISO/IEC 15444-1 A.5.1), which always follows SOC at once: a decoder takes from it only the sign, the final
    range, and for unsigned components the level shift 2**(precision-1). So unsigned samples are shifted here, encoded
    as signed ones (which are not shifted), and declared unsigned with the true precision. Bit planes are counted in
    QCD. Below 9 of 16 bits the precision stays 16: readers size their samples by it.
    """

    _SIZ = b"\xff\x4f\xff\x51"
    _SSIZ_AT = 42

    def __init__(self) -> None:
        import imagecodecs

        self._encode, self._decode = imagecodecs.htj2k_encode, imagecodecs.htj2k_decode

    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """See the class."""
        return self._encoded(frame, layout)

    def _encoded(self, frame: Samples, layout: Layout, **options: Any) -> bytes:
        stored, allocated = layout.bits_stored, layout.bits_allocated
        declared = stored < allocated and (allocated == 8 or stored > 8)
        samples = as_stored(frame, layout)
        if declared and not layout.signed:
            samples = (frame - frame.dtype.type(1 << (stored - 1))).view(f"<i{allocated // 8}")
        stream = bytearray(self._encode(samples, reversible=True, rgb=False, planar=False, **options))
        if declared:
            self._declare(stream, layout)
        return bytes(stream)

    def _declare(self, stream: bytearray, layout: Layout) -> None:
        if stream[:4] != self._SIZ:
            raise ValueError("HTJ2K: no SIZ marker where it was expected")
        for component in range(layout.samples):
            stream[self._SSIZ_AT + 3 * component] = layout.bits_stored - 1 | (0x80 if layout.signed else 0)

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class."""
        return self._decode(stream, planar=False)


class ProgressiveHighThroughputJpeg2000(HighThroughputJpeg2000):
    """HTJ2K lossless with what .202 requires beyond .201 (PS3.5 10.18).

    A reader can then fetch a thumbnail from the beginning of a stream. Required are progression RPCL, which is
    OpenJPH's own choice, tile-part lengths (TLM), and decompositions until the lowest resolution is no wider or no
    higher than 64. The stream is checked, since the binding promises none of it.
    """

    _COD = b"\xff\x52"
    _TLM = b"\xff\x55"
    _SOT = b"\xff\x90"
    _RPCL = 2

    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """See the class."""
        needed = 0
        while min(layout.rows, layout.columns) > 64 << needed:
            needed += 1
        # Five are OpenJPH's own choice. A side of one pixel cannot be halved: some versions leave such levels out,
        # others (with imagecodecs 2026.10) then decode an image of one row to other pixels.
        possible = min(layout.rows, layout.columns).bit_length() - 1
        stream = self._encoded(frame, layout, tlm=True, resolutions=max(needed, min(5, possible)))
        self._check_markers(stream, needed)
        return stream

    def _check_markers(self, stream: bytes, halvings: int) -> None:
        """Check the main header for RPCL, TLM and the decompositions (ISO/IEC 15444-1 A.4 to A.7)."""
        found, offset = {}, 2
        while (marker := stream[offset : offset + 2]) != self._SOT:
            size = int.from_bytes(stream[offset + 2 : offset + 4], "big")
            if size < 2:
                raise ValueError("HTJ2K: no tile-part after the main header")
            found[marker] = stream[offset + 4 : offset + 2 + size]
            offset += 2 + size
        cod = found.get(self._COD, bytes(6))
        if cod[1] != self._RPCL or cod[5] < halvings or self._TLM not in found:
            raise ValueError("HTJ2K: the stream is not RPCL with TLM")
