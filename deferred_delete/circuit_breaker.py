"""A rest after a failure, during which nothing is tried."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """Keeps a failing ledger from costing its timeout once for each of a thousand files.

    Args:
        rest_s: How long nothing is tried after a failure.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(self, rest_s: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._rests_until = float("-inf")

    @property
    def open(self) -> bool:
        """Whether to leave it alone for now."""
        return self._monotonic() < self._rests_until

    def trip(self) -> None:
        """Notes a failure."""
        self._rests_until = self._monotonic() + self._rest_s
