"""Back-off, breaker, log limit and clock: arithmetic."""

import pytest

from deferred_delete.clock import LedgerClock
from deferred_delete.pacing import Breaker, LogLimit, backoff_ms


class Ticks:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("attempts", "jitter", "expected_ms"),
    [
        (1, 0.0, 5_000),  # the first retry
        (2, 0.0, 10_000),  # doubles
        (3, 0.0, 20_000),
        (10, 0.0, 2_560_000),
        (11, 0.0, 3_600_000),  # the cap
        (5_000, 0.0, 3_600_000),  # no overflow
        (1, 0.999999, 3_750),  # the jitter takes a quarter at most
        (11, 0.5, 3_150_000),
    ],
)
def test_backoff(attempts: int, jitter: float, expected_ms: int) -> None:
    assert backoff_ms(attempts, 5, 3600, jitter) == expected_ms


def test_the_breaker_rests_and_tries_again() -> None:
    ticks = Ticks()
    breaker = Breaker(rest_s=1.0, monotonic=ticks)
    assert not breaker.open
    breaker.trip()
    assert breaker.open
    ticks.now = 0.999
    assert breaker.open
    ticks.now = 1.0
    assert not breaker.open


def test_the_log_limit_counts_what_it_leaves_out() -> None:
    ticks = Ticks()
    limit = LogLimit(lines=2, period_s=60, monotonic=ticks)
    assert [limit.allow() for _ in range(5)] == ["", "", None, None, None]
    ticks.now = 60.0
    assert limit.allow() == " (3 more lines like this were left out)"
    assert limit.allow() == ""


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
