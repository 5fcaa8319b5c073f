"""What every lossless codec does: one frame to a code stream and back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ..input.pixels import Layout, Samples


class Codec(ABC):
    """Encodes and decodes one frame for one target."""

    @abstractmethod
    def encode(self, frame: Samples, layout: Layout) -> bytes:
        """The frame as a code stream, not padded. Raises whatever the library raises."""

    @abstractmethod
    def decode(self, stream: bytes, layout: Layout) -> Any:
        """The decoded frame, as an array whose elements hold the bit patterns of the samples."""


def as_stored(frame: Samples, layout: Layout) -> Any:
    """The frame as an array of signed samples where its pixels are signed, without a copy."""
    return frame.view(f"<i{layout.bits_allocated // 8}") if layout.signed else frame
