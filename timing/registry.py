"""The instances in flight, by thread, and the counters that they end in."""

from collections.abc import Callable
from threading import Lock, get_ident
from typing import Final

from . import stages
from .clients import ClientNames
from .in_flight import InFlight, State
from .settings import Settings
from .slowest import Finished, SlowestRing
from .totals import Drained, Totals

MAX_IN_FLIGHT: Final = 1024
"""One instance per thread that stores; Orthanc has 50 HTTP threads and 4 DICOM threads unless told otherwise."""

_TOGETHER: Final = 16
# So many stored instances are added up at once: what takes 50 us for one alone, with nothing of it in the processor's
# caches, takes 10 for each of several. Whoever reads adds up first.


class Registry:
    """Adds, ends and counts instances. Safe to use from any thread.

    An instance in flight is changed by its own thread alone, so its events need no lock. Whatever adds, drops or counts
    instances takes the lock, for microseconds.

    Args:
        settings: the section StageTiming.
        clock: nanoseconds, monotonic.
    """

    def __init__(self, settings: Settings, clock: Callable[[], int]) -> None:
        self.by_thread: dict[int, InFlight] = {}  # by threading.get_ident(), oldest first
        self._lock = Lock()
        self._clock = clock
        self._stale_ns = settings.stale_seconds * 1_000_000_000
        self._last_end_ns = clock()
        ring = SlowestRing(settings.slowest, settings.slowest_minutes * 60_000_000_000)
        self._totals = Totals(ring, ClientNames(settings.max_clients))
        self._stored: list[tuple[InFlight, int, float, str]] = []  # not yet in the totals

    def begin(self, instance: InFlight) -> None:
        """Take in this thread's next instance; one that it had is given up."""
        ident = get_ident()
        with self._lock:
            if ident in self.by_thread:
                self._abandon(ident)
            elif len(self.by_thread) >= MAX_IN_FLIGHT:
                self._abandon(next(iter(self.by_thread)))
            self.by_thread[ident] = instance

    def finish(self, now_ns: int, finished_at: float, orthanc_id: str, client: str, *, wanted: bool) -> Finished | None:
        """Count this thread's instance as stored, or as a duplicate; return it where it was stored and is wanted."""
        with self._lock:
            instance = self.by_thread.pop(get_ident(), None)
            self._last_end_ns = now_ns
            if instance is None:
                self._totals.tally(stages.UNSEEN).instances += 1
                return None
            if instance.state is State.DUPLICATE:
                self._totals.tally(instance.protocol).duplicates += 1
                return None
            instance.client = client
            self._stored.append((instance, now_ns, finished_at, orthanc_id))
            if wanted:
                return self._add_up()
            if len(self._stored) >= _TOGETHER:
                self._add_up()
            return None

    def fail_write(self) -> None:
        """Count a failed write of this thread."""
        with self._lock:
            instance = self.by_thread.get(get_ident())
            self._totals.tally(instance.protocol if instance else stages.UNSEEN).failed_writes += 1

    def give_up(self) -> None:
        """Give up this thread's instance, if it has one."""
        with self._lock:
            self._abandon(get_ident())

    def count_out_of_order(self) -> None:
        """Count an event that came without the event before it."""
        with self._lock:
            self._totals.oddities.out_of_order += 1

    def drain(self) -> tuple[Drained, int, int]:
        """Give up what is stale and hand over what is pending.

        Returns:
            What is pending, how many instances are in flight, and the time of both.
        """
        with self._lock:
            oldest_ns = self._clock() - self._stale_ns
            for ident in [ident for ident, instance in self.by_thread.items() if instance.since_ns < oldest_ns]:
                self._abandon(ident)
            self._add_up()
            return self._totals.drain(), self._count_in_flight(), self._clock()

    def idle_seconds(self) -> float:
        """Return for how long nothing was in flight and no instance finished; 0 while one is in flight."""
        with self._lock:
            return 0.0 if self._count_in_flight() else (self._clock() - self._last_end_ns) / 1e9

    def slowest(self) -> list[Finished]:
        """Return the slowest recent instances, slowest first."""
        with self._lock:
            self._add_up()
            return self._totals.slowest.recent(self._clock())

    def clear(self) -> None:
        """Forget what was counted; instances in flight stay."""
        with self._lock:
            self._stored.clear()
            self._totals.clear()

    def _add_up(self) -> Finished | None:
        """Take what was stored into the totals; return the last one. The lock is held."""
        finished = None
        for stored in self._stored:
            finished = self._totals.finish(*stored)
        self._stored.clear()
        return finished

    def _count_in_flight(self) -> int:
        """Return how many received instances are in flight; the lock is held.

        Writes of no known instance do not count: most are attachments of users, which no commit ends.
        """
        return sum(instance.received_ns is not None for instance in self.by_thread.values())

    def _abandon(self, ident: int) -> None:
        """Give up what this thread had in flight, if that was not done already; the lock is held."""
        instance = self.by_thread.pop(ident, None)
        if instance is not None:
            self._totals.abandon(instance)
