"""How long to leave Orthanc alone between two requests of ours."""

from collections import deque
from typing import Final

# Requests that the usual latency is taken from.
_WINDOW: Final = 128
# A request this many times slower than usual has waited for somebody else.
_CROWDED: Final = 2.0
_SHORTEST_S: Final = 0.001
_LONGEST_S: Final = 0.25


class Yielding:
    """The pause that ingest needs, from the latency of our own requests.

    Orthanc's index serves one at a time: when others want it our requests take longer than usual. Then the pause doubles, up to
    a quarter of a second; when they are quick again it shrinks, down to the length of one request, so that at the most
    half of the time is ours.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._pause_s = _SHORTEST_S

    def pause_s(self, latency_s: float) -> float:
        """How long to wait after a request that took ``latency_s`` seconds."""
        self._recent.append(latency_s)
        # The quickest fifth: what a request takes when nobody else is there, as long as that happens now and then.
        usual_s = sorted(self._recent)[len(self._recent) // 5]
        if latency_s > _CROWDED * usual_s:
            self._pause_s = min(_LONGEST_S, self._pause_s * 2)
        else:
            self._pause_s = max(_SHORTEST_S, latency_s, self._pause_s * 0.8)
        return min(_LONGEST_S, self._pause_s)
