"""The pause after an error that is bigger than one file."""

import time
from typing import Final

from support.backoff import backoff_ms

# Doubling from the first to the second, in seconds.
_MIN_S: Final = 0.1
_MAX_S: Final = 30.0


class Rest:
    """Longer after each error in a row."""

    def __init__(self) -> None:
        self._errors_in_a_row = 0
        self._ends_at_s = 0.0

    @property
    def left_s(self) -> float:
        """Seconds until it ends; 0 or less if it has ended."""
        return self._ends_at_s - time.monotonic()

    def begin(self) -> float:
        """Begins after an error; returns how long it lasts, in seconds."""
        self._errors_in_a_row += 1
        rest_s = backoff_ms(self._errors_in_a_row, _MIN_S, _MAX_S) / 1000
        self._ends_at_s = time.monotonic() + rest_s
        return rest_s

    def reset(self) -> None:
        """After success: the next one is short again."""
        self._errors_in_a_row = 0
