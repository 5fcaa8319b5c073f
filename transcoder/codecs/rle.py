"""RLE lossless (.5)."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..input.pixels import Layout, Samples
from .codec import Codec


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
