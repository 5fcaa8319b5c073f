"""JPEG-LS near-lossless (.81): no stored value is off by more than the bound."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codecs.codec import as_stored
from ..codecs.jpeg import JpegLs
from ..input.pixels import Layout, Samples
from ..outcome import KeptError, Reason
from ..policy.loss import Loss
from .codec import Compressed, LossyCodec
from .errors import value_range


class NearLosslessJpegLs(LossyCodec):
    """JPEG-LS near-lossless (.81, PS3.5 A.4.3 and 10.3), by CharLS: no sample is off by more than NEAR.

    Precision and lack of a sign are as in `JpegLs`. The error may carry a sample beyond its range, into a bit above
    Bits Stored or to the other sign: a stream of 16 bits for 12 stored may decode 4095 to 4097. A stream of
    precision 12 cannot, since decoders clamp to the precision; so unsigned frames with samples that near to the top are
    written with Bits Stored (by pyjpegls, which can and keeps Python's lock meanwhile). Signed ones cannot be, as
    readers then lose the sign: they are kept.
    """

    method = "ISO_14495_1"
    title = "JPEG-LS near-lossless"

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self._near = int(loss.bound)
        self._unclamped = _NearJpegLs(self._near)
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
            stream = self._unclamped.encode(frame, layout)
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
        return self._unclamped.decode(stream)


class _NearJpegLs(JpegLs):
    """`JpegLs` with a bound above zero."""

    def __init__(self, near: int) -> None:
        super().__init__()
        lossless = self._encode
        self._encode = lambda frame, **options: lossless(frame, level=near, **options)

    def decode(self, stream: bytes, layout: Layout | None = None) -> Any:
        """See the base class; the layout is not needed."""
        return self._decode(stream)
