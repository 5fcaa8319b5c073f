"""When to try again, and how often to say so."""

import time
from collections.abc import Callable


def backoff_ms(attempts: int, retry_min_s: float, retry_max_s: float, jitter: float) -> int:
    """Milliseconds until the next attempt: doubling from ``retry_min_s``, at most ``retry_max_s``, less up to a quarter.

    The jitter keeps ten thousand files that failed together, because a share went away, from coming back together.

    Args:
        attempts: Failed attempts so far, this one included (1 or more).
        retry_min_s: The first delay, in seconds.
        retry_max_s: The longest, in seconds.
        jitter: From 0 (none) up to, not including, 1.
    """
    delay_s = min(retry_max_s, retry_min_s * 2.0 ** min(attempts - 1, 40))
    return max(1, round(delay_s * 1000 * (1 - jitter / 4)))


class Breaker:
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


class LogLimit:
    """At most so many lines in so many seconds, and a count of those left out.

    Args:
        lines: Lines in a period.
        period_s: The period, in seconds.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self, lines: int = 10, period_s: float = 60.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = lines
        self._period_s = period_s
        self._monotonic = monotonic
        self._begun = float("-inf")
        self._written = 0
        self._left_out = 0

    def allow(self) -> str | None:
        """None to keep quiet; otherwise what to add to the line ("" or how many were left out)."""
        now = self._monotonic()
        if now - self._begun >= self._period_s:
            self._begun, self._written = now, 0
        if self._written >= self._lines:
            self._left_out += 1
            return None
        self._written += 1
        left_out, self._left_out = self._left_out, 0
        return f" ({left_out} more lines like this were left out)" if left_out else ""
