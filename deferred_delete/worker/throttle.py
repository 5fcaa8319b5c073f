"""The pauses of the worker: rate limits, and ingest before deletion."""

import threading
import time
from collections.abc import Callable
from typing import Final

from ..settings import Settings
from ..storage.free_disk import CHECK_EVERY_S

# While instances are being stored, the worker works a tenth of the time: ingest is hardly slower, and a busy archive
# still drains.
_REST_PER_WORK: Final = 9.0
# An unlink that hung for a minute is not followed by nine minutes of rest.
_MAX_REST_S: Final = 0.5
# How long after a store ingest counts as going on.
_INGEST_LINGERS_S: Final = 0.2
# Shorter pauses are saved up: a sleep costs more than it is long.
_MIN_PAUSE_S: Final = 0.002


class IngestWatch:
    """Whether instances are being stored. Costs each store two readings of the clock."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._seen_s = float("-inf")

    def note(self) -> None:
        """Called when a store begins and when it ends."""
        self._seen_s = self._monotonic()

    @property
    def busy(self) -> bool:
        """Whether a store began or ended a moment ago."""
        return self._monotonic() - self._seen_s < _INGEST_LINGERS_S


class _Limit:
    """An amount per second; whatever exceeds it is made up for by waiting."""

    def __init__(self, per_second: float) -> None:
        self._cost_s = 1 / per_second if per_second else 0.0
        self._paid_until_s = float("-inf")

    def spend(self, amount: float, now_s: float, busy_s: float) -> float:
        """Returns how long to wait, in seconds; the ``busy_s`` seconds that the work took count towards it."""
        self._paid_until_s = max(self._paid_until_s, now_s - busy_s) + amount * self._cost_s
        return self._paid_until_s - now_s


class Throttle:
    """The pauses after each file and each batch; none while the disk is pressed.

    Args:
        settings: ThrottleDelayMs, FilesPerSecond, MegabytesPerSecond.
        wait: Waits so many seconds, or less when the worker is to stop or pause, and then returns True.
        ingest: Whether instances are being stored.
        pressed: Whether the disk is nearly full.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self,
        settings: Settings,
        wait: Callable[[float], bool],
        ingest: IngestWatch,
        pressed: Callable[[], bool],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._throttle_s = settings.throttle_delay_ms / 1000
        self._files = _Limit(settings.files_per_second)
        self._megabytes = _Limit(settings.megabytes_per_second)
        self._unlimited = not (settings.throttle_delay_ms or settings.files_per_second or settings.megabytes_per_second)
        self._wait = wait
        self._ingest = ingest
        self._pressed = pressed
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._saved_up_s = 0.0
        self.yielding = False

    @property
    def yields_now(self) -> bool:
        """Whether the worker slows down because instances are being stored."""
        return self.yielding and self._ingest.busy

    def after_file(self, size_bytes: int, busy_s: float) -> None:
        """Pauses after a file was deleted in ``busy_s`` seconds. Several threads may call it at once."""
        if self._unlimited and not self._ingest.busy:
            self.yielding = False
            return
        now_s = self._monotonic()
        with self._lock:
            pause_s = max(
                self._throttle_s,
                self._files.spend(1, now_s, busy_s),
                self._megabytes.spend(size_bytes / 1e6, now_s, busy_s),
            )
        self._pause(pause_s, self._rest_s(busy_s))

    def after_batch(self, busy_s: float) -> None:
        """Pauses after a batch for which the ledger took ``busy_s`` seconds."""
        self._pause(0.0, self._rest_s(busy_s))

    def _rest_s(self, busy_s: float) -> float:
        self.yielding = self._ingest.busy
        if not self.yielding:
            return 0.0
        self._saved_up_s += busy_s * _REST_PER_WORK
        if self._saved_up_s < _MIN_PAUSE_S:
            return 0.0
        rest_s, self._saved_up_s = min(self._saved_up_s, _MAX_REST_S), 0.0
        return rest_s

    def _pause(self, limit_s: float, rest_s: float) -> None:
        left_s = max(limit_s if limit_s >= _MIN_PAUSE_S or limit_s == self._throttle_s else 0.0, rest_s)
        while left_s > 0 and not self._pressed():
            # In slices, so that a disk that fills up meanwhile is noticed.
            if self._wait(min(left_s, CHECK_EVERY_S)):
                return
            left_s -= CHECK_EVERY_S
