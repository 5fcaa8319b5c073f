"""CircuitBreaker and clock: arithmetic."""

from deferred_delete.circuit_breaker import CircuitBreaker
from deferred_delete.ledger.clock import LedgerClock


class Ticks:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_the_breaker_rests_and_tries_again() -> None:
    ticks = Ticks()
    breaker = CircuitBreaker(rest_s=1.0, monotonic=ticks)
    assert not breaker.open
    breaker.trip()
    assert breaker.open
    ticks.now = 0.999
    assert breaker.open
    ticks.now = 1.0
    assert not breaker.open


def test_the_clock_counts_on_when_the_wall_clock_jumps() -> None:
    wall, monotonic = Ticks(1_000_000.0), Ticks(50.0)
    clock = LedgerClock(0, wall, monotonic)
    assert clock.now_ms() == 1_000_000_000
    wall.now = 5.0  # set back by days
    monotonic.now = 51.5
    assert clock.now_ms() == 1_000_001_500
    assert clock.set_back_by_ms == 0


def test_the_clock_never_starts_before_the_newest_row() -> None:
    clock = LedgerClock(2_000_000_000, Ticks(1_000_000.0), Ticks(0.0))
    assert clock.now_ms() == 2_000_000_000
    assert clock.set_back_by_ms == 1_000_000_000
