"""What the worker did, in numbers."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

import msgspec

# The window of "files per second", in seconds.
_RECENT_S: Final = 10.0


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
        """Whether not one file of a batch of some size could be unlinked: then the disk is ill, not the file."""
        return self.failed == self.claimed >= 16


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The worker and its ledger at one moment.

    ``unrecorded`` deletions are in memory only. ``waiting_for`` is what keeps the worker from deleting: pause,
    schedule, grace (the grace period), retry (of failed files), trouble (the ledger or the whole disk), stopped; none
    while it deletes or nothing is pending. ``waiting_until`` is an ISO 8601 time; none where nobody knows. ``left_s``
    estimates how long all that is pending takes. ``unwritten_header_copies`` are in memory until ingest pauses, for
    five seconds at the most unless the disk refuses them.
    """

    running: bool
    paused: bool
    pending: int
    claimed: int
    failed: int
    unrecorded: int
    oldest_age_s: float | None
    waiting_for: str | None
    waiting_until: str | None
    left_s: float | None
    draining_now: bool
    disk_pressure: bool
    free_disk_bytes: int | None
    unwritten_header_copies: int
    yielding_to_ingest: bool
    deleted_since_start: int
    missing_since_start: int
    failures_since_start: int
    freed_bytes_since_start: int
    files_per_second: float
    last_error: str | None


class Counters:
    """Sums of outcomes since start. Written by the worker, read by anybody.

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
            return sum(files for _, files in self._recent) / _RECENT_S

    def _forget_old(self) -> None:
        since = self._monotonic() - _RECENT_S
        while self._recent and self._recent[0][0] < since:
            self._recent.popleft()
