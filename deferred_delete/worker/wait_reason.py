"""What the worker waits for, in words and numbers for operators."""

import datetime
import math
import time
from collections.abc import Callable

from ..ledger.rows import Counts
from ..settings import Settings


class WaitReason:
    """Written by the worker at each step, read by any thread.

    Args:
        wall: Seconds since 1970.
    """

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self._now: tuple[str, float | None] | None = None

    def clear(self) -> None:
        """The worker does not wait."""
        self._now = None

    def set(self, reason: str, for_s: float | None) -> None:
        """It waits so many seconds; None: it is not known how long."""
        self._now = reason, None if for_s is None or math.isinf(for_s) else self._wall() + for_s

    def set_due(self, for_s: float | None) -> None:
        """Nothing is due for so many seconds, or (None) nothing is pending."""
        if for_s is None:
            self.clear()
        else:
            self.set("due", for_s)

    def describe(self, counts: Counts, *, paused: bool, withheld: bool, running: bool) -> tuple[str | None, str | None]:
        """The reason and, in ISO 8601, until when; None and None if it works or has nothing to do."""
        now = self._now
        if not counts.total:
            return None, None
        if not running or paused:
            return ("pause" if running else "stopped"), None
        if withheld:
            return "restore", None
        if now is None:
            return None, None
        reason, until_s = now
        if reason == "due":
            reason = "grace" if counts.pending else "retry"
        return reason, _iso(until_s)


def _iso(at_s: float | None) -> str | None:
    if at_s is None:
        return None
    try:
        return datetime.datetime.fromtimestamp(at_s).astimezone().isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):  # a year that no calendar has
        return None


def estimate_s(files: int, files_per_second: float, settings: Settings) -> float | None:
    """How long so many files take, in seconds.

    At the rate of the last seconds or, before there is one, at the configured limit; None if there is neither.
    """
    rate = files_per_second or settings.files_per_second
    if not files:
        return 0.0
    return round(files / rate, 1) if rate else None
