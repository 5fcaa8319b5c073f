"""Records when each instance passes which stage, from callbacks that run on many threads at once."""

import time
from collections.abc import Callable
from threading import Lock, get_ident
from typing import Final, NamedTuple

from . import stages
from .histograms import StageHistogram
from .in_flight import InFlight
from .settings import Settings
from .slowest import SlowestRing, describe
from .snapshot import ProtocolSnapshot, SlowInstance, Snapshot, stage_snapshots
from .totals import Drained, Oddities, Tally, Totals

MAX_IN_FLIGHT: Final = 1024
"""One instance per thread that stores; Orthanc has 50 HTTP threads and 4 DICOM threads unless told otherwise."""

_SAME_INSTANCE_NS: Final = 100_000_000
# Where the arrival is not seen, two writes on one thread belong to one image when they follow each other at once.

_OUTCOME_LENGTH: Final = 64


class StageBuckets(NamedTuple):
    """One stage of one protocol as Prometheus wants it: see histograms.BUCKETS_SECONDS."""

    protocol: str
    stage: str
    cumulative: list[int]
    sum_seconds: float


class Reading(NamedTuple):
    """All counters and buckets at one moment."""

    tallies: dict[str, Tally]
    oddities: Oddities
    in_flight: int
    buckets: list[StageBuckets]


class Recorder:
    """Follows each instance from its arrival to its index transaction, by thread.

    One instance stays on one OS thread from "received" to "stored", and the plugin rebuilds Python's thread state at each
    callback, so that threading.local forgets between callbacks: instances are kept by threading.get_ident().
    No method raises on events that are missing, doubled or out of order: they are counted.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        settings = settings or Settings()
        self._stale_ns = settings.stale_seconds * 1_000_000_000
        self._clock = clock
        self._wall_clock = wall_clock
        # Two locks: callbacks take only the first, for microseconds; readers hold the second around the slow work of
        # folding and percentiles. The order is always fold lock, then lock. An instance in flight is changed by its own
        # thread alone, so its events need no lock; whatever adds, drops or counts instances does.
        self._lock = Lock()
        self._fold_lock = Lock()
        self._in_flight: dict[int, InFlight] = {}  # oldest first
        self._totals = Totals(SlowestRing(settings.slowest, settings.slowest_minutes * 60_000_000_000))
        self._start()

    def _start(self) -> None:
        self._since = self._wall_clock()
        self._since_ns = self._clock()
        self._histograms: dict[tuple[str, str], StageHistogram] = {}

    def received(
        self, protocol: str, size_bytes: int, *, waited_ns: int | None = None, receiving_ns: int | None = None
    ) -> None:
        """Note that the callback was entered with an instance of `size_bytes`.

        Args:
            protocol: "http", "cstore", "job" or "other"; anything else counts as "other".
            size_bytes: size of the instance as received.
            waited_ns: how long the association waited for the SCU before this instance; None where that is not known.
            receiving_ns: how long receiving the data set took; None where that is not known.
        """
        now_ns = self._clock()
        instance = InFlight(stages.known_protocol(protocol), size_bytes, now_ns, arrival_seen=True)
        instance.waited_ns = waited_ns
        instance.receiving_ns = receiving_ns
        self._begin(instance)

    def transcoded(self, outcome: str = "") -> None:
        """Note that the callback is about to be left; `outcome` is shown with the slowest instances."""
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if instance is None or instance.transcoded_ns is not None or instance.first_write_ns is not None:
            self._count_out_of_order()
            return
        instance.last_event_ns = instance.transcoded_ns = now_ns
        instance.outcome = outcome[:_OUTCOME_LENGTH]

    def write_started(self, size_bytes: int, attachment_uuid: str = "") -> None:
        """Note that the storage area was asked to write `size_bytes`; an image is written twice, as attachments 1 and 3.

        Args:
            size_bytes: size of the attachment.
            attachment_uuid: tells `removed` which instance it belongs to.
        """
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if instance is None or _is_another_write(instance, now_ns):
            # No arrival was seen: an attachment of a user, or an instance that did not pass the callback. Only the
            # commit will tell; until then it is no instance.
            instance = InFlight(stages.UNSEEN, 0, now_ns, arrival_seen=False)
            self._begin(instance)
        if instance.writing:
            self._count_out_of_order()
        instance.begin_write(size_bytes, now_ns, attachment_uuid)

    def write_ended(self, *, failed: bool = False) -> None:
        """Note that the write under way on this thread has ended; a failed one ends its instance too."""
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if failed:
            self._count_failed_write(instance)
        if instance is None or not instance.writing:
            self._count_out_of_order()
            return
        instance.end_write(now_ns)
        if failed:
            with self._lock:
                self._abandon(get_ident())

    def removed(self, attachment_uuid: str) -> None:
        """Note that the storage area was asked to remove an attachment.

        One that this thread's own instance has just written means that the archive had the instance already: Orthanc takes its new
        attachments away again, and still calls what `committed` stands for (ServerContext's StoreStatus_AlreadyStored).
        """
        instance = self._in_flight.get(get_ident())
        if instance is not None and attachment_uuid in instance.attachments:
            instance.duplicate = True

    def committed(self, orthanc_id: str = "") -> None:
        """Note that the index transaction is done; `orthanc_id` names the instance among the slowest."""
        now_ns = self._clock()
        finished_at = self._wall_clock()
        with self._lock:
            instance = self._in_flight.pop(get_ident(), None)
            if instance is None:
                self._totals.tally(stages.UNSEEN).instances += 1
            elif instance.duplicate:
                self._totals.tally(instance.protocol).duplicates += 1
            else:
                self._totals.finish(instance, now_ns, finished_at, orthanc_id)

    def snapshot(self) -> Snapshot:
        """Return everything since the start or the last reset."""
        with self._fold_lock:
            drained, in_flight = self._fold()
            return Snapshot(
                since=self._since,
                seconds=(self._clock() - self._since_ns) / 1e9,
                in_flight=in_flight,
                stray_writes=drained.oddities.stray_writes,
                out_of_order=drained.oddities.out_of_order,
                clamped=drained.oddities.clamped,
                protocols=[
                    self._protocol_snapshot(protocol, drained.tallies[protocol])
                    for protocol in stages.PROTOCOLS
                    if protocol in drained.tallies
                ],
            )

    def reading(self) -> Reading:
        """Return everything since the start or the last reset as counters and buckets."""
        with self._fold_lock:
            drained, in_flight = self._fold()
            buckets = [
                StageBuckets(protocol, stage, histogram.cumulative_buckets(), histogram.sum_ns / 1e9)
                for (protocol, stage), histogram in sorted(self._histograms.items())
            ]
        return Reading(drained.tallies, drained.oddities, in_flight, buckets)

    def slowest(self) -> list[SlowInstance]:
        """Return the slowest recent instances, slowest first."""
        with self._lock:
            kept = self._totals.slowest.recent(self._clock())
        return [describe(finished) for finished in kept]

    def reset(self) -> None:
        """Forget everything recorded; instances in flight go on and will count."""
        with self._fold_lock, self._lock:
            self._totals.clear()
            self._start()

    def _begin(self, instance: InFlight) -> None:
        ident = get_ident()
        with self._lock:
            if ident in self._in_flight:
                self._abandon(ident)
            elif len(self._in_flight) >= MAX_IN_FLIGHT:
                self._abandon(next(iter(self._in_flight)))
            self._in_flight[ident] = instance

    def _abandon(self, ident: int) -> None:
        """Give up what this thread had in flight, if that was not done already; the lock is held."""
        instance = self._in_flight.pop(ident, None)
        if instance is not None:
            self._totals.abandon(instance)

    def _count_out_of_order(self) -> None:
        with self._lock:
            self._totals.oddities.out_of_order += 1

    def _count_failed_write(self, instance: InFlight | None) -> None:
        with self._lock:
            self._totals.tally(instance.protocol if instance else stages.UNSEEN).failed_writes += 1

    def _fold(self) -> tuple[Drained, int]:
        """Move what is pending into the histograms; the fold lock is held, the callbacks' lock only while it is handed over."""
        with self._lock:
            oldest_ns = self._clock() - self._stale_ns
            for ident in [ident for ident, instance in self._in_flight.items() if instance.last_event_ns < oldest_ns]:
                self._abandon(ident)
            drained = self._totals.drain()
            # Writes of no known instance are not counted: most are attachments of users, which nothing will finish.
            in_flight = sum(instance.received_ns is not None for instance in self._in_flight.values())
        for key, pending in drained.pending.items():
            histogram = self._histograms.get(key)
            if histogram is None:
                histogram = self._histograms[key] = StageHistogram()
            histogram.absorb(pending)
        return drained, in_flight

    def _protocol_snapshot(self, protocol: str, tally: Tally) -> ProtocolSnapshot:
        summaries = {
            stage: histogram.summary() for (owner, stage), histogram in self._histograms.items() if owner == protocol
        }
        return ProtocolSnapshot(
            protocol=protocol,
            instances=tally.instances,
            bytes=tally.size_bytes,
            written_bytes=tally.written_bytes,
            duplicates=tally.duplicates,
            unfinished=tally.unfinished,
            failed_writes=tally.failed_writes,
            stages=stage_snapshots(summaries),
        )


def _is_another_write(instance: InFlight, now_ns: int) -> bool:
    """Tell whether a write that begins now is too late to belong to the writes seen so far."""
    return instance.received_ns is None and not instance.writing and now_ns - instance.last_event_ns > _SAME_INSTANCE_NS
