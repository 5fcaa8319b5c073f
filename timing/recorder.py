"""Records when each instance passes which stage, from callbacks that run on many threads at once."""

import time
from collections.abc import Callable, Mapping
from threading import Lock, get_ident
from typing import Final, NamedTuple

from . import stages
from .clients import ClientNames
from .history import ClientBuckets, History, StageBuckets
from .in_flight import InFlight
from .settings import Settings
from .slowest import Finished, SlowestRing, describe
from .snapshot import ProtocolSnapshot, SlowInstance, Snapshot, WindowSnapshot, stage_snapshots
from .totals import Drained, Oddities, Tally, Totals

MAX_IN_FLIGHT: Final = 1024
"""One instance per thread that stores; Orthanc has 50 HTTP threads and 4 DICOM threads unless told otherwise."""

_SAME_INSTANCE_NS: Final = 100_000_000
# Where the arrival is not seen, two writes on one thread belong to one image when they follow each other at once.

_OUTCOME_LENGTH: Final = 64


_MAX_ASSOCIATIONS: Final = 256
# Orthanc has four DICOM threads; an association that has ended is forgotten when as many others have come.


class Reading(NamedTuple):
    """All counters and buckets at one moment."""

    tallies: dict[str, Tally]
    client_tallies: dict[tuple[str, str], Tally]
    oddities: Oddities
    in_flight: int
    buckets: list[StageBuckets]
    client_buckets: list[ClientBuckets]


class Recorder:
    """Follows each instance from its arrival to its index transaction, by thread.

    One instance stays on one OS thread from "received" to "stored", and the plugin rebuilds Python's thread state at
    each callback, so that threading.local forgets between callbacks: instances are kept by threading.get_ident(). No
    method raises on events that are missing, doubled or out of order: they are counted.
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
        self._last_commits: dict[int, int] = {}  # by association, oldest first; between a commit and the next instance
        self._uploads: dict[int, int] = {}  # when the request that a thread is serving began; one entry a thread
        self._last_event_ns = clock()
        ring = SlowestRing(settings.slowest, settings.slowest_minutes * 60_000_000_000)
        self._totals = Totals(ring, ClientNames(settings.max_clients))
        self._start()

    def _start(self) -> None:
        self._since = self._wall_clock()
        self._since_ns = self._clock()
        self._history = History(self._since_ns)

    def request_began(self, *, upload: bool) -> None:
        """Note that this thread begins to serve an HTTP request, whose body has not been read yet.

        The first instance that arrives on the thread is told to have been received since then; of the others of a ZIP
        nothing is known.
        """
        ident = get_ident()
        if not upload:
            self._uploads.pop(ident, None)
        elif ident in self._uploads or len(self._uploads) < MAX_IN_FLIGHT:
            self._uploads[ident] = self._clock()

    def received(
        self,
        protocol: str,
        size_bytes: int,
        *,
        waited_ns: int | None = None,
        receiving_ns: int | None = None,
        queued_ns: int | None = None,
        association: int | None = None,
        follows: bool = False,
    ) -> None:
        """Note that the callback was entered with an instance of `size_bytes`.

        Args:
            protocol: "http", "cstore", "job" or "other"; anything else counts as "other".
            size_bytes: size of the instance as received.
            waited_ns: how long the association waited for the SCU before this instance; None where that is not known.
            receiving_ns: how long receiving the data set took; None where that is not known.
            queued_ns: how long ago the data set's last byte came; None where that is not known.
            association: names the association for as long as it lasts.
            follows: this is the very next instance on it after the one that was told before; then the response to that
                one is known.
        """
        now_ns = self._clock()
        instance = InFlight(stages.known_protocol(protocol), size_bytes, now_ns, arrival_seen=True)
        instance.waited_ns = waited_ns
        instance.receiving_ns = receiving_ns
        instance.queued_ns = queued_ns
        if protocol == stages.HTTP and self._uploads:
            began_ns = self._uploads.pop(get_ident(), None)
            instance.receiving_ns = None if began_ns is None else now_ns - began_ns
        if association is not None:
            instance.association = association
            self._tell_response(instance, now_ns, follows=follows)
        self._begin(instance)

    def _tell_response(self, instance: InFlight, now_ns: int, *, follows: bool) -> None:
        """Part the time since this association's last index transaction into the response and the wait for the SCU.

        When the response left is known to the kernel's tick only: it cannot have left before the transaction was done.
        """
        assert instance.association is not None
        committed_ns = self._last_commits.pop(instance.association, None)
        waited_ns, receiving_ns, queued_ns = instance.waited_ns, instance.receiving_ns, instance.queued_ns
        if not follows or committed_ns is None or waited_ns is None or receiving_ns is None or queued_ns is None:
            return
        whole_ns = now_ns - committed_ns - receiving_ns - queued_ns
        if whole_ns < 0:
            return
        instance.waited_ns = min(waited_ns, whole_ns)
        instance.response_ns = whole_ns - instance.waited_ns

    def transcoded(self, outcome: str = "", steps: Mapping[str, int] | None = None) -> None:
        """Note that the callback is about to be left.

        Args:
            outcome: shown with the slowest instances.
            steps: nanoseconds of what was done in it, by the names in stages.STEPS but "other"; None where nobody
                knows.
        """
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if instance is None or instance.transcoded_ns is not None or instance.first_write_ns is not None:
            self._count_out_of_order()
            return
        instance.last_event_ns = instance.transcoded_ns = now_ns
        instance.outcome = outcome[:_OUTCOME_LENGTH]
        instance.steps = steps

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

    def write_ended(self, *, failed: bool = False, sync_ns: int | None = None, verify_ns: int = 0) -> None:
        """Note that the write under way on this thread has ended; a failed one ends its instance too.

        Args:
            failed: it was refused, and Orthanc gives the instance up.
            sync_ns: how long it waited for the disk; None where that is not known.
            verify_ns: how long it then waited for the proof that the transcoded pixels are those received.
        """
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if failed:
            self._count_failed_write(instance)
        if instance is None or not instance.writing:
            self._count_out_of_order()
            return
        instance.end_write(now_ns, sync_ns, verify_ns)
        if failed:
            with self._lock:
                self._abandon(get_ident())

    def removed(self, attachment_uuid: str) -> None:
        """Note that the storage area was asked to remove an attachment.

        One that this thread's own instance has just written means that the archive had the instance already: Orthanc
        takes its new attachments away again, and still calls what `committed` stands for (ServerContext's
        StoreStatus_AlreadyStored).
        """
        instance = self._in_flight.get(get_ident())
        if instance is not None and attachment_uuid in instance.attachments:
            instance.duplicate = True

    def committed(self, orthanc_id: str = "", client: str = "") -> Finished | None:
        """Note that the index transaction is done.

        Args:
            orthanc_id: names the instance among the slowest.
            client: who sent it: a calling AE title, an address; empty where there is none.

        Returns:
            The instance with its stages, for whoever wants to tell of it; None where nothing was stored.
        """
        now_ns = self._clock()
        finished_at = self._wall_clock()
        with self._lock:
            instance = self._in_flight.pop(get_ident(), None)
            self._last_event_ns = now_ns
            if instance is None:
                self._totals.tally(stages.UNSEEN).instances += 1
                return None
            if instance.association is not None:
                self._remember_commit(instance.association, now_ns)
            if instance.duplicate:
                self._totals.tally(instance.protocol).duplicates += 1
                return None
            instance.client = client
            return self._totals.finish(instance, now_ns, finished_at, orthanc_id)

    def _remember_commit(self, association: int, now_ns: int) -> None:
        """The lock is held."""
        if len(self._last_commits) >= _MAX_ASSOCIATIONS:
            self._last_commits.pop(next(iter(self._last_commits)))
        self._last_commits[association] = now_ns

    def idle_seconds(self) -> float:
        """Return for how long nothing was in flight and no instance finished; 0 while one is in flight."""
        with self._lock:
            if any(instance.received_ns is not None for instance in self._in_flight.values()):
                return 0.0
            return (self._clock() - self._last_event_ns) / 1e9

    def fold(self) -> None:
        """Move what was recorded into the histograms: to be called every windows.FOLD_S seconds, so that windows are right."""
        with self._fold_lock:
            self._fold()

    def windows(self) -> list[WindowSnapshot]:
        """Return the last minutes, shortest window first."""
        with self._fold_lock:
            self._fold()
            return self._history.windows(self._clock())

    def snapshot(self) -> Snapshot:
        """Return everything since the start or the last reset."""
        with self._fold_lock:
            drained, in_flight = self._fold()
            seconds = (self._clock() - self._since_ns) / 1e9
            return Snapshot(
                since=self._since,
                seconds=seconds,
                in_flight=in_flight,
                stray_writes=drained.oddities.stray_writes,
                out_of_order=drained.oddities.out_of_order,
                clamped=drained.oddities.clamped,
                protocols=[
                    self._protocol_snapshot(protocol, drained.tallies[protocol], seconds)
                    for protocol in stages.PROTOCOLS
                    if protocol in drained.tallies
                ],
                windows=self._history.windows(self._clock()),
            )

    def reading(self) -> Reading:
        """Return everything since the start or the last reset as counters and buckets."""
        with self._fold_lock:
            drained, in_flight = self._fold()
            return Reading(
                drained.tallies,
                drained.clients,
                drained.oddities,
                in_flight,
                self._history.stage_buckets(),
                self._history.client_buckets(),
            )

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
            now_ns = self._clock()
        self._history.absorb(drained, now_ns)
        return drained, in_flight

    def _protocol_snapshot(self, protocol: str, tally: Tally, seconds: float) -> ProtocolSnapshot:
        summaries = {stage: histogram.summary() for stage, histogram in self._history.stages_of(protocol).items()}
        return ProtocolSnapshot(
            protocol=protocol,
            instances=tally.instances,
            bytes=tally.size_bytes,
            written_bytes=tally.written_bytes,
            duplicates=tally.duplicates,
            unfinished=tally.unfinished,
            failed_writes=tally.failed_writes,
            stages=stage_snapshots(summaries, seconds),
            clients=self._history.clients_of(protocol, seconds),
        )


def _is_another_write(instance: InFlight, now_ns: int) -> bool:
    """Tell whether a write that begins now is too late to belong to the writes seen so far."""
    return instance.received_ns is None and not instance.writing and now_ns - instance.last_event_ns > _SAME_INSTANCE_NS
