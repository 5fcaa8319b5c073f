"""What finished instances add up to, until a reader folds it into histograms."""

import copy
from typing import NamedTuple

from . import stages
from .histograms import Pending
from .in_flight import InFlight
from .slowest import Finished, SlowestRing, work_of


class Tally:
    """Counters of one protocol; sizes in bytes."""

    __slots__ = ("duplicates", "failed_writes", "instances", "size_bytes", "unfinished", "written_bytes")

    def __init__(self) -> None:
        self.instances = self.size_bytes = self.written_bytes = self.unfinished = self.failed_writes = (
            self.duplicates
        ) = 0


class Oddities:
    """Counters of what did not fit any instance."""

    __slots__ = ("clamped", "out_of_order", "stray_writes")

    def __init__(self) -> None:
        self.clamped = self.out_of_order = self.stray_writes = 0


class Drained(NamedTuple):
    """Counters at one moment, and the durations recorded since the drain before."""

    tallies: dict[str, Tally]
    oddities: Oddities
    pending: dict[tuple[str, str], Pending]


class Totals:
    """Counters, pending durations and the slowest instances. Not thread-safe: the recorder's lock guards it."""

    def __init__(self, slowest: SlowestRing) -> None:
        self.slowest = slowest
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._tallies: dict[str, Tally] = {}
        self._pending: dict[tuple[str, str], Pending] = {}
        self.oddities = Oddities()
        self.slowest.clear()

    def tally(self, protocol: str) -> Tally:
        """Return the counters of `protocol`, one of stages.PROTOCOLS."""
        tally = self._tallies.get(protocol)
        if tally is None:
            tally = self._tallies[protocol] = Tally()
        return tally

    def finish(self, instance: InFlight, now_ns: int, finished_at: float, orthanc_id: str) -> None:
        """Count an instance whose index transaction is done."""
        tally = self.tally(instance.protocol)
        tally.instances += 1
        tally.size_bytes += instance.size_bytes
        tally.written_bytes += instance.written_bytes
        parts = instance.split(now_ns)
        for stage, duration_ns in parts:
            self._record(instance.protocol, stage, duration_ns)
        self._record(instance.protocol, stages.TOTAL, sum([duration_ns for _, duration_ns in parts]))
        work_ns = work_of(parts)
        if self.slowest.accepts(work_ns, now_ns):
            self.slowest.add(work_ns, Finished(now_ns, finished_at, orthanc_id, instance, parts))

    def abandon(self, instance: InFlight) -> None:
        """Count an instance that will not be stored, or writes that belonged to none."""
        if instance.received_ns is None:
            self.oddities.stray_writes += instance.writes
        else:
            self.tally(instance.protocol).unfinished += 1

    def drain(self) -> Drained:
        """Hand over the pending durations, with copies of the counters of the same moment."""
        pending, self._pending = self._pending, {}
        self.oddities.clamped += sum(entry.clamped for entry in pending.values())
        tallies = {protocol: copy.copy(tally) for protocol, tally in self._tallies.items()}
        return Drained(tallies, copy.copy(self.oddities), pending)

    def _record(self, protocol: str, stage: str, duration_ns: int) -> None:
        pending = self._pending.get((protocol, stage))
        if pending is None:
            pending = self._pending[protocol, stage] = Pending()
        pending.add(duration_ns)
