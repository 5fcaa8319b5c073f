"""Counts of what the worker did."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

# "Files per second" is an average over so many seconds.
_RATE_WINDOW_S: Final = 10.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one batch came to. ``missing`` counts completed deletions whose file was gone before."""

    claimed: int = 0
    deleted: int = 0
    missing: int = 0
    failed: int = 0
    released: int = 0
    freed_bytes: int = 0

    @property
    def all_failed(self) -> bool:
        """Whether not one file of a batch of some size could be unlinked: then the disk is at fault, not the file."""
        return self.failed == self.claimed >= 16


class Counters:
    """Sums of outcomes since start. Written by the worker, read by any thread.

    Args:
        monotonic: Seconds since any fixed moment.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._recent: deque[tuple[float, int]] = deque()
        self.deleted = 0
        self.missing = 0
        self.failures = 0
        self.freed_bytes = 0
        self.last_error: str | None = None

    def add(self, outcome: Outcome) -> None:
        """Adds a batch."""
        with self._lock:
            self.deleted += outcome.deleted
            self.missing += outcome.missing
            self.failures += outcome.failed
            self.freed_bytes += outcome.freed_bytes
            if outcome.deleted:
                self._recent.append((self._monotonic(), outcome.deleted))
                self._forget_old()

    def files_per_second(self) -> float:
        """Files unlinked per second over the last ten."""
        with self._lock:
            self._forget_old()
            return sum(files for _, files in self._recent) / _RATE_WINDOW_S

    def _forget_old(self) -> None:
        since = self._monotonic() - _RATE_WINDOW_S
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
