"""Records when each instance passes which stage, from callbacks that run on many threads at once."""

import time
from collections.abc import Callable, Mapping
from threading import get_ident
from typing import Final

from . import stages
from .before_arrival import BeforeArrival
from .in_flight import InFlight, State
from .registry import Registry
from .reports import Reading, Reports
from .settings import Settings
from .slowest import Finished, describe
from .snapshot import SlowInstance, Snapshot, WindowSnapshot

_SAME_INSTANCE_NS: Final = 100_000_000
# Where the arrival is not seen, two writes on one thread belong to one image when they follow each other at once.


class Recorder:
    """Follows each instance from its arrival to its index transaction, by thread: events in, snapshots out.

    One instance stays on one OS thread from "received" to "stored", and the plugin may rebuild Python's thread state
    at a callback, so that threading.local forgets between callbacks: instances are kept by threading.get_ident(). No
    method raises on events that are missing, doubled or out of order: they are counted.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        clock: Callable[[], int] = time.perf_counter_ns,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._wall_clock = wall_clock
        self._before_arrival = BeforeArrival()
        self._registry = Registry(settings or Settings(), clock)
        self._in_flight = self._registry.by_thread
        self._reports = Reports(self._registry, clock, wall_clock)

    def request_began(self, *, upload: bool) -> None:
        """Note that this thread begins to serve an HTTP request, whose body has not been read yet.

        The first instance that arrives on the thread counts as received since then; of the others of a ZIP that time is
        not known.
        """
        self._before_arrival.request_began(self._clock(), upload=upload)

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
        """Note that the callback was entered with an instance.

        Args:
            protocol: "http", "cstore", "job" or "other"; anything else counts as "other".
            size_bytes: size of the instance as received.
            waited_ns: how long the association waited for the SCU before this instance; None where that is not known.
            receiving_ns: how long receiving the data set took; None where that is not known.
            queued_ns: how long ago the data set's last byte came; None where that is not known.
            association: names the association for as long as it lasts.
            follows: no other instance came on the association since the one recorded before.
        """
        now_ns = self._clock()
        instance = InFlight(stages.known_protocol(protocol), size_bytes, now_ns, arrival_seen=True)
        instance.waited_ns = waited_ns
        instance.receiving_ns = receiving_ns
        instance.queued_ns = queued_ns
        if protocol == stages.HTTP:
            self._before_arrival.add_upload(instance, now_ns)
        if association is not None:
            instance.association = association
            self._before_arrival.add_response(instance, association, now_ns, follows=follows)
        self._registry.begin(instance)

    def transcoded(self, outcome: str = "", steps: Mapping[str, int] | None = None) -> None:
        """Note that the callback is about to be left.

        Args:
            outcome: shown with the slowest instances.
            steps: nanoseconds of what was done in it, by the names in stages.STEPS but "other"; None: not known.
        """
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if instance is None or not instance.end_transcoding(now_ns, outcome, steps):
            self._registry.count_out_of_order()

    def write_started(self, size_bytes: int, attachment_uuid: str = "") -> None:
        """Note that the storage area was asked to write an attachment; an image is written twice, as types 1 and 3.

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
            self._registry.begin(instance)
        if not instance.begin_write(now_ns, size_bytes, attachment_uuid):
            self._registry.count_out_of_order()

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
            self._registry.fail_write()
        if instance is None or not instance.end_write(now_ns, sync_ns, verify_ns):
            self._registry.count_out_of_order()
        elif failed:
            self._registry.give_up()

    def removed(self, attachment_uuid: str) -> None:
        """Note that the storage area was asked to remove an attachment.

        One that this thread's own instance has just written means that the archive had the instance already: Orthanc
        takes its new attachments away again, and still calls what `committed` stands for (ServerContext's
        StoreStatus_AlreadyStored).
        """
        instance = self._in_flight.get(get_ident())
        if instance is not None:
            instance.remove(attachment_uuid)

    def committed(self, orthanc_id: str = "", client: str = "", *, wanted: bool = True) -> Finished | None:
        """Note that the index transaction is done.

        Args:
            orthanc_id: names the instance among the slowest.
            client: who sent it: a calling AE title, an address; empty where there is none.
            wanted: whether the stages of this instance are; if not, they are added up later, with those of others.

        Returns:
            The instance with its stages; None where nothing was stored, or it is not wanted.
        """
        now_ns = self._clock()
        instance = self._in_flight.get(get_ident())
        if instance is not None and instance.association is not None:
            self._before_arrival.committed(instance.association, now_ns)
        return self._registry.finish(now_ns, self._wall_clock(), orthanc_id, client, wanted=wanted)

    def idle_seconds(self) -> float:
        """Return for how long nothing was in flight and no instance finished; 0 while one is in flight."""
        return self._registry.idle_seconds()

    def fold(self) -> None:
        """Move what was recorded into the histograms; windows are right if this runs every windows.FOLD_S seconds."""
        self._reports.fold()

    def windows(self) -> list[WindowSnapshot]:
        """Return the last minutes, shortest window first."""
        return self._reports.windows()

    def snapshot(self) -> Snapshot:
        """Return everything since the start or the last reset."""
        return self._reports.snapshot()

    def reading(self) -> Reading:
        """Return everything since the start or the last reset as counters and buckets."""
        return self._reports.reading()

    def slowest(self) -> list[SlowInstance]:
        """Return the slowest recent instances, slowest first."""
        return [describe(finished) for finished in self._registry.slowest()]

    def reset(self) -> None:
        """Forget everything recorded; instances in flight go on and will count."""
        self._reports.reset()


def _is_another_write(instance: InFlight, now_ns: int) -> bool:
    """Tell whether a write that begins now is too late for an instance whose arrival was not seen."""
    is_idle = instance.received_ns is None and instance.state is not State.WRITING
    return is_idle and now_ns - instance.since_ns > _SAME_INSTANCE_NS
