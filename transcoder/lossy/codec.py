"""What every lossy codec does: compresses one frame within a bound, decodes it again and measures the loss.

A stream is handed out only after that. So the bound is held, and what was lost can be written into the file (PS3.3
C.7.6.1.1.5). For one sample per pixel only.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..input.pixels import Layout, Samples
from ..outcome import KeptError, Reason
from ..policy.loss import Loss
from .errors import Errors, Values, errors_between, stored_values, value_range


@dataclass(frozen=True, slots=True)
class Compressed:
    """One frame's stream, the stored values it decodes to, their errors, and the nanoseconds that measuring took."""

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
        """Refuse images for whose range the bound makes no sense.

        Raises:
            KeptError: with the reason.
        """

    @abstractmethod
    def compress(self, frame: Samples, layout: Layout) -> Compressed:
        """The frame as a stream that keeps within the bound; raises whatever the library raises.

        Raises:
            KeptError: no stream keeps within the bound, or values would come back beyond Bits Stored.
        """

    def decode(self, stream: bytes, layout: Layout) -> Values:
        """The stored values, with their sign."""
        decoded = np.asarray(self._decoded(stream))
        if decoded.shape != (layout.rows, layout.columns) or decoded.dtype.itemsize * 8 != layout.bits_allocated:
            raise KeptError(Reason.VERIFICATION_FAILED, f"came back as {decoded.shape} {decoded.dtype}")
        return stored_values(decoded, layout)

    @abstractmethod
    def _decoded(self, stream: bytes) -> Any:
        """The array that the library decodes it to."""

    def _measured(self, stream: bytes, frame: Samples, layout: Layout) -> Compressed:
        before = time.perf_counter_ns()
        values = self.decode(stream, layout)
        low, high = value_range(layout)
        if int(np.min(values)) < low or int(np.max(values)) > high:
            raise KeptError(Reason.VERIFICATION_FAILED, f"came back with values beyond {low} to {high}")
        errors = errors_between(stored_values(frame, layout), values)
        return Compressed(stream, values, errors, time.perf_counter_ns() - before)
