"""At most so many lines in a period, and a count of those left out."""

from __future__ import annotations

from support.rate_limited_log import RateLimitedLog


class Ticks:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_counts_what_it_leaves_out() -> None:
    ticks = Ticks()
    limited = RateLimitedLog(lines=2, period_s=60, monotonic=ticks)
    assert [limited.allow() for _ in range(5)] == ["", "", None, None, None]
    ticks.now = 60.0
    assert limited.allow() == " (3 more lines like this were left out)"
    assert limited.allow() == ""


def test_a_kind_comes_back_once_a_period_whatever_others_there_are() -> None:
    ticks = Ticks()
    limited = RateLimitedLog(lines=1, monotonic=ticks)
    answers = []
    for ticks.now in (0.0, 1.0, 59.0, 61.0, 200.0):
        answers.append(limited.allow("kind"))
        limited.allow("another")
    assert answers == ["", None, None, " (2 more lines like this were left out)", ""]


def test_kinds_beyond_the_bound_share_one() -> None:
    limited = RateLimitedLog(lines=1, monotonic=Ticks())
    assert sum(limited.allow(f"kind {number}") is not None for number in range(1000)) == 65
