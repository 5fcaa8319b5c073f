"""A circuit breaker: after a failure nothing is tried for a while."""

import time
from collections.abc import Callable


class CircuitBreaker:
    """With it, a failing ledger costs its timeout once and not for each of a thousand files.

    Args:
        rest_s: How long nothing is tried after a failure.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(self, rest_s: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rest_s = rest_s
        self._monotonic = monotonic
        self._open_until = float("-inf")

    @property
    def open(self) -> bool:
        """Whether nothing is to be tried now."""
        return self._monotonic() < self._open_until

    def trip(self) -> None:
        """Notes a failure."""
        self._open_until = self._monotonic() + self._rest_s
