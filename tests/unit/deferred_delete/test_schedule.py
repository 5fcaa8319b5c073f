"""Schedule: the Housekeeper plugin's hours, by the local clock, daylight saving included."""

import os
import time
from collections.abc import Iterator

import pytest

from deferred_delete.worker.schedule import Schedule

HOUR = 3600.0


@pytest.fixture(autouse=True)
def brussels() -> Iterator[None]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = "CET-1CEST,M3.5.0,M10.5.0/3"  # by rule, so that no time zone data is needed
    time.tzset()
    yield
    os.environ.pop("TZ") if before is None else os.environ.update(TZ=before)
    time.tzset()


def local(text: str) -> float:
    return time.mktime(time.strptime(text, "%Y-%m-%d %H:%M"))


def at(text: str, **days: list[str]) -> Schedule:
    moment = local(text)
    return Schedule(days, wall=lambda: moment)


def test_without_a_schedule_it_is_always_open() -> None:
    assert at("2026-11-21 12:00").open
    assert at("2026-11-21 12:00").opens_in_s() == 0


@pytest.mark.parametrize(
    ("moment", "is_open"),
    [
        ("2026-11-23 00:00", True),  # a Monday
        ("2026-11-23 05:59", True),
        ("2026-11-23 06:00", False),  # up to, not including
        ("2026-11-23 19:59", False),
        ("2026-11-23 20:00", True),
        ("2026-11-23 23:59", True),
        ("2026-11-24 00:00", False),  # Tuesday is not named
    ],
)
def test_hours_are_from_the_first_up_to_not_including_the_second(moment: str, is_open: bool) -> None:
    assert at(moment, Monday=["0-6", "20-24"]).open is is_open


@pytest.mark.parametrize(
    ("moment", "hours"),
    [
        ("2026-11-23 06:00", 14.0),
        ("2026-11-24 00:00", 144.0),  # next Monday
        ("2026-11-23 19:45", 0.25),
    ],
)
def test_it_tells_when_it_opens(moment: str, hours: float) -> None:
    assert at(moment, Monday=["0-6", "20-24"]).opens_in_s() == hours * HOUR


def test_days_without_hours_never_open() -> None:
    schedule = at("2026-11-21 12:00", Monday=[])
    assert not schedule.open
    assert schedule.opens_in_s() is None


def test_an_hour_that_is_skipped_in_spring_does_not_open() -> None:
    schedule = at("2026-03-29 01:30", Sunday=["2-3"])
    assert schedule.opens_in_s() > 6 * 24 * HOUR  # type: ignore[operator]


def test_an_hour_that_comes_twice_in_autumn_is_open_twice() -> None:
    before = local("2026-10-25 01:00")
    seconds = [0.0]
    schedule = Schedule({"Sunday": ["2-3"]}, wall=lambda: before + seconds[0])
    opened = 0
    for quarter in range(16):
        seconds[0] = quarter * 900.0
        opened += schedule.open
    assert opened == 8  # two hours of four quarters


def test_a_local_clock_that_is_set_back_is_noticed() -> None:
    now = [local("2026-11-23 20:30")]
    schedule = Schedule({"Monday": ["20-24"]}, wall=lambda: now[0])
    assert schedule.open
    now[0] = local("2026-11-23 12:30")
    assert not schedule.open
