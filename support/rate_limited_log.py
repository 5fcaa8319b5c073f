"""Limits the log lines of one kind in a period, and counts those that were left out."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

# The name of a kind may contain what a sender wrote, so their number is bounded: those beyond share one.
_MAX_KINDS = 64
_OTHERS = "others"


class RateLimitedLog:
    """Says whether a line may be logged now. Thread safe.

    Args:
        lines: Lines of one kind in a period.
        period_s: The period, in seconds. It begins with the first line.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self, lines: int = 10, period_s: float = 60.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = lines
        self._period_s = period_s
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._kinds: dict[str, _Kind] = {}

    def allow(self, kind: str = "") -> str | None:
        """None if the line may not be logged; else what to add to it: "", or how many of its kind were left out."""
        now = self._monotonic()
        with self._lock:
            if kind not in self._kinds and len(self._kinds) >= _MAX_KINDS:
                kind = _OTHERS
            state = self._kinds.setdefault(kind, _Kind())
            if now - state.began >= self._period_s:
                state.began, state.written = now, 0
            if state.written >= self._lines:
                state.left_out += 1
                return None
            state.written += 1
            left_out, state.left_out = state.left_out, 0
        return f" ({left_out} more lines like this were left out)" if left_out else ""


class _Kind:
    """The lines of one kind in its present period."""

    __slots__ = ("began", "left_out", "written")

    def __init__(self) -> None:
        self.began = float("-inf")
        self.written = 0
        self.left_out = 0
