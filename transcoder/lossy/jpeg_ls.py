"""JPEG-LS near-lossless (.81): no stored value is off by more than the bound."""

from __future__ import annotations

from collections.abc import Callable
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
    written with Bits Stored. Signed ones cannot be, as readers then lose the sign: they are kept.
    """

    method = "ISO_14495_1"
    title = "JPEG-LS near-lossless"

    def __init__(self, loss: Loss) -> None:
        super().__init__(loss)
        self._near = int(loss.bound)
        self._unclamped = _NearJpegLs(self._near)
        self._encode_stored = _with_stored_precision(self._near)

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
            stream = self._encode_stored(frame, layout)
        else:
            stream = self._unclamped.encode(frame, layout)
        compressed = self._measured(stream, frame, layout)
        if compressed.errors.largest > self._near:
            raise KeptError(
                Reason.VERIFICATION_FAILED, f"an error of {compressed.errors.largest} with {self.loss.text}"
            )
        return compressed

    def _decoded(self, stream: bytes) -> Any:
        return self._unclamped.decode(stream)


def _with_stored_precision(near: int) -> Callable[[Samples, Layout], bytes]:
    """An encoder that writes Bits Stored as the stream's precision.

    By pyjpegls, which keeps Python's lock meanwhile; where there is no wheel of it (Python 3.14), by imagecodecs, which
    can do so in the versions for Python 3.12 and later.
    """
    try:
        from jpeg_ls import encode_buffer
    except ImportError:
        import imagecodecs

        encode: Any = imagecodecs.jpegls_encode  # those for Python 3.11 lack the argument
        return lambda frame, layout: bytes(encode(frame, level=near, bitspersample=layout.bits_stored))
    return lambda frame, layout: bytes(
        encode_buffer(
            frame.tobytes(), layout.rows, layout.columns, 1, layout.bits_stored, lossy_error=near, interleave_mode=0
        )
    )


class _NearJpegLs(JpegLs):
    """`JpegLs` with a bound above zero."""

    def __init__(self, near: int) -> None:
        super().__init__()
        lossless = self._encode
        self._encode = lambda frame, **options: lossless(frame, level=near, **options)

    def decode(self, stream: bytes, layout: Layout | None = None) -> Any:
        """See the base class; the layout is not needed."""
        return self._decode(stream)
