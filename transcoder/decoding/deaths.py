"""How often the decoder process died, and how long the next start waits for it.

A death counts for ten minutes. The first costs no pause; then they double, up to a minute, so that a bad sender does
not make us start process after process.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from support.backoff import backoff_ms

_log = logging.getLogger(__name__)

_COUNTS_FOR_S = 600.0
_FIRST_PAUSE_S = 1.0
_MAX_PAUSE_S = 60.0
_LOGGED_AT = 3


class Deaths:
    """The deaths of the decoder process. Not thread safe.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=16)
        self._not_before = 0.0
        self.count = 0

    def pause_left_s(self) -> float:
        """Seconds until the next start is allowed; none is left at 0 or below."""
        return self._not_before - self._clock()

    def add(self, how: str) -> None:
        """Count one death and set the pause before the next start.

        Args:
            how: how it died, for the log.
        """
        now = self._clock()
        self.count += 1
        while self._recent and now - self._recent[0] > _COUNTS_FOR_S:
            self._recent.popleft()
        self._recent.append(now)
        several = len(self._recent) - 1
        pause_s = backoff_ms(several, _FIRST_PAUSE_S, _MAX_PAUSE_S) / 1000 if several else 0.0
        self._not_before = now + pause_s
        if len(self._recent) == _LOGGED_AT:
            _log.warning(
                "decoder process: %s; that was the third time within ten minutes: compressed instances are kept as "
                "they come while it rests, now for %.0f s, and longer each time up to a minute",
                how,
                pause_s,
            )
