"""Measures what lossy compression lost: the differences between stored values as received and as decoded."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..input.pixels import Layout

Values = NDArray[np.integer[Any]]

# Samples compared at a time: the differences take several times the memory of what is compared.
_BAND_SAMPLES = 1 << 18


@dataclass(frozen=True, slots=True)
class Errors:
    """Differences between stored values as received and as they come back, over one frame or several.

    Attributes:
        largest: the largest absolute difference.
        squares: the sum of the squared differences.
        samples: how many samples were compared.
    """

    largest: int
    squares: int
    samples: int

    @property
    def rms(self) -> float:
        """Root of the mean squared difference."""
        return math.sqrt(self.squares / self.samples)

    def __add__(self, other: Errors) -> Errors:
        return Errors(max(self.largest, other.largest), self.squares + other.squares, self.samples + other.samples)


def value_range(layout: Layout) -> tuple[int, int]:
    """Smallest and largest stored value."""
    half = 1 << (layout.bits_stored - 1)
    return (-half, half - 1) if layout.signed else (0, 2 * half - 1)


def stored_values(samples: Any, layout: Layout) -> Values:
    """Samples as signed values where their pixels are signed, without a copy."""
    kind = "i" if layout.signed else "u"
    values: Values = np.asarray(samples).view(f"<{kind}{layout.bits_allocated // 8}")
    return values


def errors_between(before: Values, after: Values) -> Errors:
    """The differences of one frame, found band by band."""
    rows, columns = before.shape
    step = max(1, _BAND_SAMPLES // columns)
    errors = Errors(0, 0, 0)
    for first in range(0, rows, step):
        band = slice(first, first + step)
        differences = after[band].astype(np.int32) - before[band]
        squares = int(np.square(differences, dtype=np.int64).sum())
        errors += Errors(int(np.abs(differences).max()), squares, differences.size)
    return errors
