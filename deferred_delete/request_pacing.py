"""How long to leave Orthanc alone between two requests of ours."""

from collections import deque
from typing import Final

# Requests that the usual latency is taken from.
_WINDOW: Final = 512
# How much the latest request weighs: one that was unlucky does not make a crowd.
_WEIGHT: Final = 0.25
_SHORTEST_S: Final = 0.001
_LONGEST_S: Final = 0.25


class RequestPacing:
    """The pause that ingest needs, from the latency of our own requests.

    Orthanc's index serves one at a time: when others want it, our requests take longer than usual. We rest as long as a
    request takes, so that at the most half of the time is ours, times how much longer than usual it takes, up to a
    quarter of a second.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._latency_s = 0.0

    def pause_s(self, latency_s: float) -> float:
        """How long to wait after a request that took ``latency_s`` seconds."""
        self._recent.append(latency_s)
        self._latency_s += (latency_s - self._latency_s) * (_WEIGHT if len(self._recent) > 1 else 1)
        # The quickest tenth: what a request takes when nobody else is there, as long as that happens now and then.
        usual_s = max(1e-6, sorted(self._recent)[len(self._recent) // 10])
        return min(_LONGEST_S, max(_SHORTEST_S, self._latency_s * max(1.0, self._latency_s / usual_s)))
