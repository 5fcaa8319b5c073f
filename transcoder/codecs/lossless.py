"""One encoder and decoder per target, over imagecodecs (which releases the GIL) and pylibjpeg-rle.

What the experiments behind each choice of precision and sign showed is in the docstring of each codec. DCMTK 3.6.7,
GDCM 3.0.21 and pydicom 3 with pylibjpeg-openjpeg, pylibjpeg-rle and pyjpegls were the independent readers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import numpy as np

from ..input.pixels import Layout, Samples
from ..syntaxes import Target
from . import lossless_jpeg
from .binding import own_libraries_first


class Codec(ABC):
    """Encodes and decodes one frame for one target."""

    @abstractmethod
    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """The frame as a code stream, not padded. Raises whatever the library raises."""

    @abstractmethod
    def decode(self, stream: bytes, layout: Layout) -> Any:
        """The frame back, as an array whose elements hold the bit patterns of the samples."""


class JpegLossless(Codec):
    """JPEG lossless, process 14 selection value 1 (.70, PS3.5 A.4.1 and 10.2): `lossless_jpeg` encodes, libjpeg-turbo decodes.

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
        """See the class; colour goes in as it is, and the stream says no other than Photometric Interpretation."""
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
            raise ValueError("JPEG-LS: no frame header where it was due")
        return stream[:2] + stream[after:]

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class."""
        return self._decode(stream)


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

    The binding takes the precision from the array: 16 for 12 bits stored. It is put right afterwards in the SIZ marker
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
            raise ValueError("HTJ2K: no SIZ marker where it was due")
        for component in range(layout.samples):
            stream[self._SSIZ_AT + 3 * component] = layout.bits_stored - 1 | (0x80 if layout.signed else 0)

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class."""
        return self._decode(stream, planar=False)


class ProgressiveHighThroughputJpeg2000(HighThroughputJpeg2000):
    """HTJ2K lossless with what .202 asks beyond .201 (PS3.5 10.18), so that a reader can fetch a thumbnail from a stream's beginning.

    Progression RPCL, which is OpenJPH's own choice, tile-part lengths (TLM), and decompositions until the lowest
    resolution is no wider or no higher than 64. The stream is looked at, since the binding promises none of it.
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
        """Walk the main header (ISO/IEC 15444-1 A.4 to A.7)."""
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


class Rle(Codec):
    """RLE lossless (.5, PS3.5 annex G): bytes are stored by plane, so precision and sign do not come into it."""

    def __init__(self) -> None:
        from rle.utils import decode_pixel_data, encode_pixel_data

        self._encode, self._decode = encode_pixel_data, decode_pixel_data

    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """See the class."""
        return bytes(
            self._encode(
                frame.tobytes(),
                byteorder="<",
                rows=layout.rows,
                columns=layout.columns,
                samples_per_pixel=layout.samples,
                bits_allocated=layout.bits_allocated,
                number_of_frames=1,
            )
        )

    def decode(self, stream: bytes, layout: Layout) -> Any:
        """See the base class. Samples come back by plane."""
        raw = self._decode(
            stream, version=2, rows=layout.rows, columns=layout.columns, bits_allocated=layout.bits_allocated
        )
        flat = np.frombuffer(raw, np.dtype(f"<u{layout.bits_allocated // 8}"))
        if layout.samples == 1:
            return flat.reshape(layout.rows, layout.columns)
        return flat.reshape(layout.samples, layout.rows, layout.columns).transpose(1, 2, 0)


def as_stored(frame: Samples, layout: Layout) -> Any:
    """The frame with the sign its pixels have."""
    return frame.view(f"<i{layout.bits_allocated // 8}") if layout.signed else frame


_CODECS: dict[Target, type[Codec]] = {
    Target.JPEG_LOSSLESS_SV1: JpegLossless,
    Target.JPEG_LS_LOSSLESS: JpegLs,
    Target.JPEG_2000_LOSSLESS: Jpeg2000,
    Target.HTJ2K_LOSSLESS: HighThroughputJpeg2000,
    Target.HTJ2K_LOSSLESS_RPCL: ProgressiveHighThroughputJpeg2000,
    Target.RLE_LOSSLESS: Rle,
}


def load(target: Target) -> Codec:
    """The codec for a target, proven to work by a small image through it and back.

    Raises:
        RuntimeError: its library is missing, or does not give back what it was given; one line.
    """
    layout = Layout(16, 16, 1, 1, 16, 12, signed=False, planar=False, photometric="MONOCHROME2")
    image: Samples = (np.arange(256, dtype="<u2") * 16).reshape(16, 16)
    try:
        codec = _CODECS[target]()
        exact = np.array_equal(codec.decode(codec.encode(image, layout), layout), image)
    except Exception as error:
        raise RuntimeError(f"no working codec for {target.keyword}: {type(error).__name__}: {error}") from error
    if not exact:
        raise RuntimeError(f"the codec for {target.keyword} is not lossless")
    return codec
