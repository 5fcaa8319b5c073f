"""When deletions may run: the Housekeeper plugin's ``Schedule``, in local time."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Local hours begin at such moments everywhere: offsets from UTC are multiples of a quarter of an hour.
_STEP_S: Final = 900
_WEEK_STEPS: Final = 8 * 24 * 4


def hours_of(schedule: Mapping[str, Sequence[str]]) -> frozenset[tuple[int, int]]:
    """The open hours, as (day of the week from Monday 0, hour).

    Args:
        schedule: As in orthanc.json: ``{"Monday": ["0-6", "20-24"]}``, from the first hour up to, not including, the
            second.

    Raises:
        ValueError: No such day, or no such hours.
    """
    hours: set[tuple[int, int]] = set()
    for day, periods in schedule.items():
        if day not in DAYS:
            raise ValueError(f"Schedule.{day}: unknown day: expected one of {', '.join(DAYS)}")
        for period in periods:
            first, dash, last = period.partition("-")
            numbers = first.strip(), last.strip()
            if not dash or not all(number.isascii() and number.isdigit() for number in numbers):
                raise ValueError(f'Schedule.{day}: {period!r}: expected two hours, such as "20-24"')
            begin, end = map(int, numbers)
            if not begin < end <= 24:
                hint = "; a night is two periods, one for each day" if begin > end else ""
                raise ValueError(f"Schedule.{day}: {period!r}: expected 0 <= from < to <= 24{hint}")
            hours |= {(DAYS.index(day), hour) for hour in range(begin, end)}
    return frozenset(hours)


class Schedule:
    """Open at some hours of the week, or always.

    Whether a moment lies in an open hour is asked of the local clock at that very moment, so that daylight saving needs
    no rule: an hour that comes twice is open twice, one that is skipped is not there.

    Args:
        schedule: As in orthanc.json; empty: always open.
        wall: Seconds since 1970.
    """

    def __init__(self, schedule: Mapping[str, Sequence[str]], wall: Callable[[], float] = time.time) -> None:
        self._hours = hours_of(schedule)
        self._always = not schedule
        self._wall = wall
        self._checked_until = self._checked_from = 0.0
        self._open = True

    @property
    def open(self) -> bool:
        """Whether deletions may run now. Cheap: the local time is looked up four times an hour."""
        if self._always:
            return True
        now = self._wall()
        if not self._checked_from <= now < self._checked_until:
            self._open = self._is_open(now)
            self._checked_from = now
            self._checked_until = (now // _STEP_S + 1) * _STEP_S
        return self._open

    def opens_in_s(self) -> float | None:
        """Seconds until it opens, 0 when it is; None if it never does."""
        if self.open:
            return 0.0
        now = self._wall()
        first = (now // _STEP_S + 1) * _STEP_S
        for step in range(_WEEK_STEPS):
            if self._is_open(first + step * _STEP_S):
                return first + step * _STEP_S - now
        return None

    def _is_open(self, at_s: float) -> bool:
        local = time.localtime(at_s)
        return (local.tm_wday, local.tm_hour) in self._hours
