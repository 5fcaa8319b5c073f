"""Keeps the slowest recent instances."""

import heapq
from typing import NamedTuple

from . import stages
from .division import work_of
from .in_flight import InFlight
from .snapshot import SlowInstance


class Finished(NamedTuple):
    """An instance that was stored: `parts` are its stages, `steps` the parts of those, in nanoseconds."""

    finished_ns: int
    finished_at: float
    orthanc_id: str
    in_flight: InFlight
    parts: list[tuple[str, int]]
    steps: list[tuple[str, int]]


class SlowestRing:
    """Keeps at most `size` instances, none older than `recent_ns`. Not thread-safe: the registry's lock guards it.

    An instance that a slower one pushed out does not come back when that one grows old: the list is of the slowest,
    not of all that were slow.
    """

    def __init__(self, size: int, recent_ns: int) -> None:
        self._size = size
        self._recent_ns = recent_ns
        self._heap: list[tuple[int, int, Finished]] = []
        self._oldest_ns = 0
        self._number = 0

    def accepts(self, work_ns: int, now_ns: int) -> bool:
        """Tell whether an instance that took `work_ns` would be kept; cheap, since it is asked for every instance."""
        if not self._size:
            return False
        if self._heap and now_ns - self._oldest_ns > self._recent_ns:
            self._forget_old(now_ns)
        return len(self._heap) < self._size or work_ns > self._heap[0][0]

    def add(self, work_ns: int, finished: Finished) -> None:
        """Keep an instance that took `work_ns`, pushing out the fastest of a full ring."""
        self._number += 1  # among equals, decides before Python would compare instances
        if not self._heap:
            self._oldest_ns = finished.finished_ns
        if len(self._heap) < self._size:
            heapq.heappush(self._heap, (work_ns, self._number, finished))
        else:
            heapq.heapreplace(self._heap, (work_ns, self._number, finished))

    def recent(self, now_ns: int) -> list[Finished]:
        """Return what is kept, slowest first."""
        self._forget_old(now_ns)
        return [finished for _, _, finished in sorted(self._heap, reverse=True)]

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()

    def _forget_old(self, now_ns: int) -> None:
        self._heap = [entry for entry in self._heap if now_ns - entry[2].finished_ns <= self._recent_ns]
        heapq.heapify(self._heap)
        self._oldest_ns = min((finished.finished_ns for _, _, finished in self._heap), default=now_ns)


def describe(finished: Finished) -> SlowInstance:
    """Return a kept instance as it is reported."""
    in_flight = finished.in_flight
    total_ns = sum(duration_ns for _, duration_ns in finished.parts)
    return SlowInstance(
        finished_at=finished.finished_at,
        protocol=in_flight.protocol,
        client=in_flight.client,
        orthanc_id=finished.orthanc_id,
        size_bytes=in_flight.size_bytes or in_flight.written_bytes,
        outcome=in_flight.outcome,
        total_ms=total_ns / 1e6,
        work_ms=work_of(in_flight, total_ns) / 1e6,
        stages={name: duration_ns / 1e6 for name, duration_ns in finished.parts},
        steps={name: duration_ns / 1e6 for name, duration_ns in finished.steps},
    )


def server_timing(finished: Finished) -> str:
    """Return an instance's stages as HTTP's Server-Timing header has them, in milliseconds; steps as "stage.step"."""
    durations = [*finished.parts, *finished.steps]
    total_ns = sum([duration_ns for _, duration_ns in finished.parts])
    return ", ".join(
        f"{name};dur={duration_ns / 1e6:.2f}" for name, duration_ns in [*durations, (stages.TOTAL, total_ns)]
    )
