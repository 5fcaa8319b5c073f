"""Warnings that cannot flood a log: the first of each kind at once, then one a minute with a count of the others."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

_INTERVAL_S = 60.0
_MAXIMUM_KINDS = 64


class Complaints:
    """Rate-limited warnings, by kind. Thread safe."""

    def __init__(self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._lock = threading.Lock()
        self._kinds: dict[str, tuple[float, int]] = {}

    def warn(self, kind: str, line: str) -> None:
        """Log ``line`` unless another of its kind was logged within the last minute."""
        with self._lock:
            now = self._clock()
            # Texts of exceptions may hold anything a sender made up: kinds beyond the bound share one.
            kind = kind if kind in self._kinds or len(self._kinds) < _MAXIMUM_KINDS else "others"
            due, suppressed = self._kinds.get(kind, (now, 0))
            if now < due:
                self._kinds[kind] = (due, suppressed + 1)
                return
            self._kinds[kind] = (now + _INTERVAL_S, 0)
        more = f" (and {suppressed} more like it since the last line)" if suppressed else ""
        self._logger.warning("%s%s", line, more)
