"""Encoders that lose information within a bound, and the measure of what they lost.

Each frame is decoded again and measured before its stream is handed out: the bound is held, not hoped for, and what was
lost can be written into the file (PS3.3 C.7.6.1.1.5). For one sample per pixel only.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from ..codecs.lossless import JpegLs, as_stored
from ..input.pixels import Layout, Samples
from ..outcome import KeptError, Reason
from ..policy.loss import Loss
from ..syntaxes import Target

Values = NDArray[np.integer[Any]]

# Samples that are compared at a time: differences take several times the place of what is compared.
_BAND = 1 << 18


@dataclass(frozen=True, slots=True)
class Errors:
    """Differences between stored values as received and as they come back, over one frame or several."""

    largest: int
    squares: int
    samples: int

    @property
    def rms(self) -> float:
        """Root of the mean squared difference."""
        return math.sqrt(self.squares / self.samples)

    def __add__(self, other: Errors) -> Errors:
        return Errors(max(self.largest, other.largest), self.squares + other.squares, self.samples + other.samples)


@dataclass(frozen=True, slots=True)
class Compressed:
    """One frame's stream, the stored values it decodes to, how far they are off, and what finding out took."""

    stream: bytes
    values: Values
    errors: Errors
    verify_ns: int


class LossyCodec(ABC):
    """Compresses one frame within its bound.

    Attributes:
        method: the Defined Term for Lossy Image Compression Method (0028,2114).
        title: what Derivation Description calls it.
    """

    method: ClassVar[str]
    title: ClassVar[str]

    def __init__(self, loss: Loss) -> None:
        self.loss = loss

    @abstractmethod
    def require_range(self, layout: Layout) -> None:
        """Refuse images whose range makes nothing of the bound.

        Raises:
            KeptError: with the reason.
        """

    @abstractmethod
    def compress(self, frame: Samples, layout: Layout) -> Compressed:
        """The frame as a stream that keeps within the bound; raises whatever the library raises.

        Raises:
            KeptError: it does not, or values would come back beyond Bits Stored.
        """

    def decode(self, stream: bytes, layout: Layout) -> Values:
        """The stored values, with their sign."""
        decoded = np.asarray(self._decoded(stream))
        if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.itemsize * 8 != layout.bits_allocated:
            raise KeptError(Reason.VERIFICATION_FAILED, f"came back as {decoded.shape} {decoded.dtype}")
        return stored_values(decoded, layout)

    @abstractmethod
    def _decoded(self, stream: bytes) -> Any:
        """What the library makes of it."""

    def _measured(self, stream: bytes, frame: Samples, layout: Layout) -> Compressed:
        before = time.perf_counter_ns()
        values = self.decode(stream, layout)
        low, high = value_range(layout)
        if int(np.min(values)) < low or int(np.max(values)) > high:
            raise KeptError(Reason.VERIFICATION_FAILED, f"came back with values beyond {low} to {high}")
        errors = _errors(stored_values(frame, layout), values)
        return Compressed(stream, values, errors, time.perf_counter_ns() - before)


class NearLosslessJpegLs(LossyCodec):
    """JPEG-LS near-lossless (.81, PS3.5 A.4.3 and 10.3), by CharLS: no sample is off by more than NEAR.

    Precision and lack of a sign are as in `JpegLs`. What is lost may carry a sample beyond its range, where a bit above
    Bits Stored or the other sign is waiting: a stream of 16 bits for 12 stored may decode 4095 to 4097. A stream of
    precision 12 cannot, since decoders clamp to the precision; so unsigned frames with samples that near to the top are
    written with Bits Stored (by pyjpegls, which can and keeps Python's lock meanwhile). Signed ones cannot be, as
    readers then lose the sign: they are kept.
    """

    method = "ISO_14495_1"
    title = "JPEG-LS near-lossless"

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self._near = int(loss.bound)
        self._whole = _NearJpegLs(self._near)
        from jpeg_ls import encode_buffer

        self._encode_stored = encode_buffer

    def require_range(self, layout: Layout) -> None:
        """NEAR is at most half of the largest value (ISO/IEC 14495-1 C.2.3)."""
        if self._near > ((1 << layout.bits_stored) - 1) // 2:
            raise KeptError(Reason.BIT_DEPTH, f"{self.loss.text} for {layout.bits_stored} bits")

    def compress(self, frame: Samples, layout: Layout) -> Compressed:
        """See the base class."""
        low, high = value_range(layout)
        values = as_stored(frame, layout)
        at_top = int(np.max(values)) > high - self._near
        if layout.signed and (at_top or int(np.min(values)) < low + self._near):
            raise KeptError(Reason.RANGE, f"signed values within {self._near} of {low} or {high}")
        if at_top and layout.bits_allocated == 16 and layout.bits_stored <= 8:
            # Decoders size samples by the precision: one that clamps to Bits Stored would come back as bytes.
            raise KeptError(Reason.RANGE, f"{layout.bits_stored} of 16 bits, within {self._near} of {high}")
        if at_top and layout.bits_stored < layout.bits_allocated:
            stream = self._clamped(frame, layout)
        else:
            stream = self._whole.encode(frame, layout)
        compressed = self._measured(stream, frame, layout)
        if compressed.errors.largest > self._near:
            raise KeptError(
                Reason.VERIFICATION_FAILED, f"an error of {compressed.errors.largest} with {self.loss.text}"
            )
        return compressed

    def _clamped(self, frame: Samples, layout: Layout) -> bytes:
        return bytes(
            self._encode_stored(
                frame.tobytes(),
                layout.rows,
                layout.columns,
                1,
                layout.bits_stored,
                lossy_error=self._near,
                interleave_mode=0,
            )
        )

    def _decoded(self, stream: bytes) -> Any:
        return self._whole.decode(stream)


class _NearJpegLs(JpegLs):
    """`JpegLs` with a bound above zero."""

    def __init__(self, near: int) -> None:
        super().__init__()
        lossless = self._encode
        self._encode = lambda frame, **options: lossless(frame, level=near, **options)

    def decode(self, stream: bytes, layout: Layout | None = None) -> Any:
        """See the base class; the layout is not needed."""
        return self._decode(stream)


class IrreversibleJpeg2000(LossyCodec):
    """JPEG 2000 with the irreversible 9-7 wavelet (.91, PS3.5 A.4.4), by OpenJPEG.

    Precision and sign are as in `Jpeg2000`. OpenJPEG is told a peak signal-to-noise ratio, which it meets within some
    percent, for small errors less well: a frame that came out above the bound is done again with less to lose. Not by
    ratio: the binding cannot, and at one ratio a noisy image loses many times what a smooth one does.
    """

    method = "ISO_15444_1"
    title = "JPEG 2000 irreversible"
    # From one attempt to the next: small images have few streams to choose from, so that a small step may lead to the
    # same one.
    _STEPS = (0.97, 0.93, 0.85, 0.7, 0.5)
    _ROUNDING = 1 / 12  # mean square of what rounding to whole values adds

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        import imagecodecs

        self._encode, self._decode = imagecodecs.jpeg2k_encode, imagecodecs.jpeg2k_decode

    def require_range(self, layout: Layout) -> None:
        """An error of a quarter of the range leaves no image; below 9 of 16 bits decoders size samples by the precision, see `Jpeg2000`."""
        if layout.bits_allocated == 16 and layout.bits_stored <= 8:
            raise KeptError(Reason.BIT_DEPTH, f"{layout.bits_stored} of 16 bits")
        if self.loss.bound > (1 << layout.bits_stored) / 4:
            raise KeptError(Reason.BIT_DEPTH, f"{self.loss.text} for {layout.bits_stored} bits")

    def compress(self, frame: Samples, layout: Layout) -> Compressed:
        """See the base class."""
        peak = (1 << layout.bits_stored) - 1
        aim = math.sqrt(self.loss.bound**2 - self._ROUNDING)
        verify_ns = 0
        for step in (*self._STEPS, 0.0):
            stream = bytes(
                self._encode(
                    as_stored(frame, layout),
                    level=cast(
                        "int", 20 * math.log10(peak / aim)
                    ),  # typed as an integer, and taken as the number it is
                    codecformat="j2k",
                    reversible=False,
                    mct=False,
                    planar=False,
                    bitspersample=layout.bits_stored,
                    numthreads=1,
                )
            )
            compressed = self._measured(stream, frame, layout)
            verify_ns += compressed.verify_ns
            if compressed.errors.rms <= self.loss.bound:
                return Compressed(stream, compressed.values, compressed.errors, verify_ns)
            aim *= step * self.loss.bound / compressed.errors.rms
        raise KeptError(
            Reason.BOUND, f"{self.loss.text}, after {1 + len(self._STEPS)} attempts {compressed.errors.rms:.4g}"
        )

    def _decoded(self, stream: bytes) -> Any:
        return self._decode(stream, planar=False, numthreads=1)


def value_range(layout: Layout) -> tuple[int, int]:
    """Smallest and largest stored value."""
    half = 1 << (layout.bits_stored - 1)
    return (-half, half - 1) if layout.signed else (0, 2 * half - 1)


def stored_values(samples: Any, layout: Layout) -> Values:
    """Samples with the sign they have, without a copy."""
    kind = "i" if layout.signed else "u"
    values: Values = np.asarray(samples).view(f"<{kind}{layout.bits_allocated // 8}")
    return values


def _errors(before: Values, after: Values) -> Errors:
    rows, columns = before.shape
    step = max(1, _BAND // columns)
    errors = Errors(0, 0, 0)
    for first in range(0, rows, step):
        band = slice(first, first + step)
        differences = after[band].astype(np.int32) - before[band]
        squares = int(np.square(differences, dtype=np.int64).sum())
        errors += Errors(int(np.abs(differences).max()), squares, differences.size)
    return errors


_CODECS: dict[Target, type[LossyCodec]] = {
    Target.JPEG_LS_NEAR_LOSSLESS: NearLosslessJpegLs,
    Target.JPEG_2000: IrreversibleJpeg2000,
}


def load(loss: Loss) -> LossyCodec:
    """The codec for a loss, proven to work by a small image through it and back.

    Raises:
        RuntimeError: its library is missing, or does not keep within the bound; one line.
    """
    layout = Layout(32, 32, 1, 1, 16, 16, signed=False, planar=False, photometric="MONOCHROME2")
    image: Samples = (np.arange(1024, dtype="<u2") * 16 + 1000).reshape(32, 32)
    try:
        codec = _CODECS[loss.target](loss)
        codec.compress(image, layout)
    except Exception as error:
        raise RuntimeError(f"no working codec for {loss.target.keyword}: {type(error).__name__}: {error}") from error
    return codec
