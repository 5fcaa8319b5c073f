"""Finds a study to draw: the longest run of instances in the log, of which the first ones are kept."""

from collections import OrderedDict
from typing import Final, NamedTuple

from .instance import LoggedInstance

SHOWN: Final = 40
PAUSE_US: Final = 10_000_000
_RUNS: Final = 64


class Shown(NamedTuple):
    """One instance of a run, with its stages in microseconds."""

    instance: LoggedInstance
    parts: list[tuple[str, int]]


class Run:
    """Instances of one study, or of one client where the log does not name studies, without a pause of PAUSE_US."""

    __slots__ = ("begun_us", "count", "last_us", "shown", "study")

    def __init__(self, study: str, begun_us: int) -> None:
        self.study = study
        self.begun_us = begun_us
        self.last_us = begun_us
        self.count = 0
        self.shown: list[Shown] = []

    def add(self, instance: LoggedInstance, parts: list[tuple[str, int]], stored_us: int) -> None:
        """Count an instance, and keep it if it is one of the first."""
        self.count += 1
        self.last_us = max(self.last_us, stored_us)
        if len(self.shown) < SHOWN:
            self.shown.append(Shown(instance, parts))


class Studies:
    """Finds the longest run."""

    def __init__(self) -> None:
        self._open: OrderedDict[str, Run] = OrderedDict()
        self._longest: Run | None = None

    def add(self, instance: LoggedInstance, parts: list[tuple[str, int]], stored_us: int) -> None:
        """Take in an instance that was stored."""
        key = f"{instance.process} {instance.protocol} {instance.study or instance.client}"
        run = self._open.get(key)
        if run is None or not -PAUSE_US <= instance.begun_us - run.last_us <= PAUSE_US:
            self._close(run)
            run = self._open[key] = Run(instance.study, instance.begun_us)
        self._open.move_to_end(key)
        run.add(instance, parts, stored_us)
        if len(self._open) > _RUNS:
            self._close(self._open.popitem(last=False)[1])

    def longest(self) -> Run | None:
        """Return the run of the most instances so far, None if there is none."""
        runs = [*self._open.values(), *([self._longest] if self._longest else [])]
        return max(runs, key=lambda run: run.count, default=None)

    def _close(self, run: Run | None) -> None:
        if run is not None and (self._longest is None or run.count > self._longest.count):
            self._longest = run
