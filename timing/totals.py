"""What finished instances add up to, until a reader folds it into histograms."""

import copy
from typing import NamedTuple

from . import stages
from .clients import ClientNames
from .division import stages_of, steps_of, work_of
from .histograms import Pending
from .in_flight import InFlight
from .slowest import Finished, SlowestRing


class Tally:
    """Counters of one protocol; sizes in bytes."""

    __slots__ = ("duplicates", "failed_writes", "instances", "size_bytes", "unfinished", "written_bytes")

    def __init__(self) -> None:
        self.instances = 0
        self.size_bytes = 0
        self.written_bytes = 0
        self.unfinished = 0
        self.failed_writes = 0
        self.duplicates = 0


class Oddities:
    """Counters of what did not fit any instance."""

    __slots__ = ("clamped", "out_of_order", "stray_writes")

    def __init__(self) -> None:
        self.clamped = self.out_of_order = self.stray_writes = 0


class Drained(NamedTuple):
    """Counters at one moment by protocol and by (protocol, client), and the durations recorded since the drain before.

    `pending` has those of each (protocol, client) by stage or "stage.step".
    """

    tallies: dict[str, Tally]
    clients: dict[tuple[str, str], Tally]
    oddities: Oddities
    pending: dict[tuple[str, str], dict[str, Pending]]


class Totals:
    """Counters, pending durations and the slowest instances. Not thread-safe: the registry's lock guards it."""

    def __init__(self, slowest: SlowestRing, clients: ClientNames) -> None:
        self.slowest = slowest
        self._names = clients
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._tallies: dict[str, Tally] = {}
        self._clients: dict[tuple[str, str], Tally] = {}
        self._pending: dict[tuple[str, str], dict[str, Pending]] = {}
        self._names.clear()
        self.oddities = Oddities()
        self.slowest.clear()

    def tally(self, protocol: str) -> Tally:
        """Return the counters of `protocol`, one of stages.PROTOCOLS."""
        tally = self._tallies.get(protocol)
        if tally is None:
            tally = self._tallies[protocol] = Tally()
        return tally

    def finish(self, instance: InFlight, now_ns: int, finished_at: float, orthanc_id: str) -> Finished:
        """Count an instance whose index transaction is done; return it with its stages."""
        tally = self.tally(instance.protocol)
        tally.instances += 1
        tally.size_bytes += instance.size_bytes
        tally.written_bytes += instance.written_bytes
        parts = stages_of(instance, now_ns)
        instance.client = self._names.label(instance.client)
        row = self._row(instance)
        steps = steps_of(instance, parts)
        total_ns = sum([duration_ns for _, duration_ns in parts])
        for stage, duration_ns in (*parts, *steps, (stages.TOTAL, total_ns)):
            pending = row.get(stage)
            if pending is None:
                pending = row[stage] = Pending()
            pending.add(duration_ns)
        work_ns = work_of(instance, total_ns)
        finished = Finished(now_ns, finished_at, orthanc_id, instance, parts, steps)
        if self.slowest.accepts(work_ns, now_ns):
            self.slowest.add(work_ns, finished)
        return finished

    def abandon(self, instance: InFlight) -> None:
        """Count an instance that will not be stored, or writes that belonged to none."""
        if instance.received_ns is None:
            self.oddities.stray_writes += len(instance.attachments)
        else:
            self.tally(instance.protocol).unfinished += 1

    def drain(self) -> Drained:
        """Hand over the pending durations, with copies of the counters of the same moment."""
        pending, self._pending = self._pending, {}
        self.oddities.clamped += sum(entry.clamped for row in pending.values() for entry in row.values())
        tallies = {protocol: copy.copy(tally) for protocol, tally in self._tallies.items()}
        clients = {key: copy.copy(tally) for key, tally in self._clients.items()}
        return Drained(tallies, clients, copy.copy(self.oddities), pending)

    def _row(self, instance: InFlight) -> dict[str, Pending]:
        """Count the instance for its client; return the durations of its protocol and client."""
        key = (instance.protocol, instance.client)
        row = self._pending.get(key)
        if row is None:
            row = self._pending[key] = {}
            self._clients.setdefault(key, Tally())
        tally = self._clients[key]
        tally.instances += 1
        tally.size_bytes += instance.size_bytes
        return row
