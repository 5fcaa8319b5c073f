"""JPEG 2000 irreversible (.91): the root mean square error of each frame stays within the bound."""

from __future__ import annotations

import math
from typing import Any, cast

from ..codecs.codec import as_stored
from ..input.pixels import Layout, Samples
from ..outcome import KeptError, Reason
from ..policy.loss import Loss
from .codec import Compressed, LossyCodec


class IrreversibleJpeg2000(LossyCodec):
    """JPEG 2000 with the irreversible 9-7 wavelet (.91, PS3.5 A.4.4), by OpenJPEG.

    Precision and sign are as in `Jpeg2000`. OpenJPEG is given a peak signal-to-noise ratio, which it meets within some
    percent, for small errors less well: a frame that comes out above the bound is encoded again with less to lose. Not
    by ratio: the binding cannot, and at one ratio a noisy image loses many times what a smooth one does.
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
        """An error of a quarter of the range leaves no image.

        Below 9 of 16 bits decoders size samples by the precision, see `Jpeg2000`.
        """
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
                    # Typed as an integer, but a fraction is taken as it is.
                    level=cast("int", 20 * math.log10(peak / aim)),
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
