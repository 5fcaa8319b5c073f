"""What was recorded, as snapshots for JSON and as a reading for Prometheus."""

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

from . import stages
from .history import ClientBuckets, History, StageBuckets
from .registry import Registry
from .snapshot import Snapshot, WindowSnapshot
from .totals import Drained, Oddities, Tally


class Reading(NamedTuple):
    """All counters and buckets at one moment."""

    tallies: dict[str, Tally]
    client_tallies: dict[tuple[str, str], Tally]
    oddities: Oddities
    in_flight: int
    buckets: list[StageBuckets]
    client_buckets: list[ClientBuckets]


class Reports:
    """Folds what the registry counted into histograms, and reports them. Safe to use from any thread.

    Folding and percentiles are slow, so readers have a lock of their own. The order is always fold lock, then the
    registry's lock, which callbacks wait for.

    Args:
        registry: what is reported.
        clock: nanoseconds, monotonic.
        wall_clock: seconds since 1970.
    """

    def __init__(self, registry: Registry, clock: Callable[[], int], wall_clock: Callable[[], float]) -> None:
        self._registry = registry
        self._clock = clock
        self._wall_clock = wall_clock
        self._fold_lock = Lock()
        self._start()

    def _start(self) -> None:
        self._since = self._wall_clock()
        self._since_ns = self._clock()
        self._history = History(self._since_ns)

    def fold(self) -> None:
        """Move what was recorded into the histograms."""
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
                    self._history.protocol(protocol, drained.tallies[protocol], seconds)
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

    def reset(self) -> None:
        """Forget everything recorded; instances in flight go on and will count."""
        with self._fold_lock:
            self._registry.clear()
            self._start()

    def _fold(self) -> tuple[Drained, int]:
        """Move what is pending into the histograms; the fold lock is held. Also returns how many are in flight."""
        drained, in_flight, now_ns = self._registry.drain()
        self._history.absorb(drained, now_ns)
        return drained, in_flight
