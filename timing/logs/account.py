"""What the instances of a log add up to, in memory that does not grow with the log."""

import heapq
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Sequence

from .. import stages
from ..histograms import HIGHEST_US, Pending, StageHistogram
from .instance import LoggedInstance
from .studies import PAUSE_US, Studies

GAP = "gap"
ANSWER = "answer"
NEW_INSTANCE = "new_instance_change"
OTHER_CHANGE = "other_change"

SLOWEST = 10
MAX_GAP_US = PAUSE_US
"""A longer silence between two instances of one client is a pause: nothing was being sent."""

_MAX_CLIENTS = 1024


class Account:
    """Collects durations by (protocol, name): stages, and what lies beside them (GAP, ANSWER, changes)."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.instances: Counter[str] = Counter()
        self.unfinished: Counter[str] = Counter()
        self.duplicates: Counter[str] = Counter()
        self.overlapped: Counter[str] = Counter()
        self.durations: dict[tuple[str, str], Pending] = {}
        self.studies = Studies()
        self.slowest: list[tuple[int, int, LoggedInstance, int]] = []
        self._number = 0

    def add(self, protocol: str, name: str, microseconds: int) -> None:
        """Record one duration."""
        key = (protocol, name)
        if key not in self.durations:
            self.durations[key] = Pending()
        self.durations[key].add(microseconds * 1000)

    def finish(self, instance: LoggedInstance, stored_us: int) -> None:
        """Count an instance, and its stages unless its lines cannot be told from another's."""
        self.instances[instance.protocol] += 1
        if instance.overlapped:
            self.overlapped[instance.protocol] += 1
            return
        parts = instance.split(stored_us)
        if any(duration < 0 for _, duration in parts):
            self.counts["out of order"] += 1
            return
        total = sum(duration for _, duration in parts)
        if total > HIGHEST_US:
            self.counts["too long"] += 1  # the clock was set forward, or the begin is another's
            return
        for stage, duration in parts:
            self.add(instance.protocol, stage, duration)
        self.add(instance.protocol, stages.TOTAL, total)
        self.studies.add(instance, parts, stored_us)
        self._number += 1
        entry = (total, self._number, instance, stored_us)
        if len(self.slowest) < SLOWEST:
            heapq.heappush(self.slowest, entry)
        else:
            heapq.heappushpop(self.slowest, entry)

    def histogram(self, protocol: str, name: str) -> StageHistogram:
        """Return the durations recorded under (protocol, name), none if there are none."""
        histogram = StageHistogram()
        histogram.absorb(self.durations.get((protocol, name), Pending()))
        return histogram

    def bins(self, protocol: str, name: str, bounds_us: Sequence[int]) -> list[int]:
        """Count the durations up to each bound, and above the last."""
        bins = [0] * (len(bounds_us) + 1)
        for microseconds, count in self.durations.get((protocol, name), Pending()).counts.items():
            bins[bisect_left(bounds_us, microseconds)] += count
        return bins

    def least(self, protocol: str, name: str) -> int:
        """Return the shortest duration in microseconds, 0 if there is none."""
        return min(self.durations.get((protocol, name), Pending()).counts, default=0)

    def fraction_between(self, protocol: str, name: str, low_us: int, high_us: int) -> float:
        """Return which part of the durations lies from `low_us` to `high_us`."""
        counts = self.durations.get((protocol, name), Pending()).counts
        inside = sum(count for duration, count in counts.items() if low_us <= duration <= high_us)
        return inside / sum(counts.values()) if counts else 0.0


class LastStored:
    """When each client's last instance was stored, for the gaps; bounded, forgetting the client longest silent."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, int] = OrderedDict()

    def put(self, client: str, time_us: int) -> None:
        """Note that an instance of `client` was stored."""
        self._times[client] = time_us
        self._times.move_to_end(client)
        if len(self._times) > _MAX_CLIENTS:
            self._times.popitem(last=False)

    def take(self, client: str) -> int | None:
        """Return when the client's last instance was stored, once."""
        return self._times.pop(client, None)

    def clear(self) -> None:
        """Forget all clients."""
        self._times.clear()
