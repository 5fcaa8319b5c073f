"""Pauses between requests to Orthanc, so that they do not slow ingest down."""

from collections import deque
from typing import Final

# The usual latency is taken from so many requests.
_WINDOW: Final = 512
# The weight of the latest request in the average: a single slow one changes little.
_WEIGHT: Final = 0.25
_MIN_PAUSE_S: Final = 0.001
_MAX_PAUSE_S: Final = 0.25


class RequestPacing:
    """The pause that ingest needs, from the latency of our own requests.

    Orthanc's index serves one request at a time: when it has others, ours take longer than usual. The pause is as long
    as a request takes, so that we use at most half of the time, times how much longer than usual it takes, up to a
    quarter of a second.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._latency_s = 0.0

    def pause_s(self, latency_s: float) -> float:
        """How long to wait after a request that took ``latency_s`` seconds."""
        self._recent.append(latency_s)
        self._latency_s += (latency_s - self._latency_s) * (_WEIGHT if len(self._recent) > 1 else 1)
        # Of the quickest tenth: what a request takes when Orthanc does nothing else, if that happens now and then.
        usual_s = max(1e-6, sorted(self._recent)[len(self._recent) // 10])
        return min(_MAX_PAUSE_S, max(_MIN_PAUSE_S, self._latency_s * max(1.0, self._latency_s / usual_s)))
