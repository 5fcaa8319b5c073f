"""Counts outcomes by rule and reason, for status pages and metrics."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from .outcome import Outcome, Reason


@dataclass(frozen=True, slots=True)
class CounterRow:
    """Totals of the instances that one rule ended with one reason."""

    rule: str
    reason: Reason
    count: int
    bytes_in: int
    bytes_out: int
    total_ns: int


class Counters:
    """Totals by rule and reason. Thread safe. Bounded: rules come from the configuration, and reasons are fixed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._totals: dict[tuple[str, Reason], list[int]] = {}

    def add(self, outcome: Outcome, elapsed_ns: int) -> None:
        """Count one outcome and the nanoseconds it took."""
        key = (outcome.rule, outcome.reason)
        with self._lock:
            totals = self._totals.setdefault(key, [0, 0, 0, 0])
            for place, amount in enumerate((1, outcome.bytes_in, outcome.bytes_out, elapsed_ns)):
                totals[place] += amount

    def rows(self) -> tuple[CounterRow, ...]:
        """A snapshot, in the order of rule and reason."""
        with self._lock:
            return tuple(CounterRow(rule, reason, *totals) for (rule, reason), totals in sorted(self._totals.items()))
