"""One line of Orthanc's log: its time, thread and text, under whatever prefix a container runtime put before it."""

import re
from datetime import date
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

MAX_LINE_LENGTH: Final = 4096
"""Characters of a line that are looked at; a dump of a data set can be much longer."""

DAY_US: Final = 86_400_000_000

_MAX_PREFIX: Final = 200
_MAX_HEAD: Final = 120  # thread name, file name, line number
_RECORD: Final = re.compile(r"(?:^|[\s|\ufeff])([TIWEF])(\d{4}) (\d\d):(\d\d):(\d\d)\.(\d{6})(?=\s)")
_DAMAGED: Final = re.compile(r"(?:^|[\s|\ufeff])[TIWEF]\d{4} \d\d:")
_SECOND_RECORD: Final = re.compile(r"[TIWEF]\d{4} \d\d:\d\d:\d\d\.\d{6}\s")
_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
_CONTAINER: Final = re.compile(r"^([\w./-]{1,80})\s*\|")
_UNIT: Final = re.compile(r"(?:^|\s)([\w.@/-]{1,80}\[\d{1,10}\]): ?$")
_CONTEXT: Final = re.compile(r"\| (?:(?:job|from) [^|]{1,80} \| )+")
_CATEGORY: Final = re.compile(r"\([a-z]{1,16}\) ")


class LogLine(NamedTuple):
    """A record of the log. `time_us` counts from the beginning of a year that the log does not tell."""

    time_us: int
    level: str
    process: str
    thread: str
    file: str
    text: str


class NoRecord(Enum):
    """Why a line is not a record."""

    OTHER = "other"  # a continuation, such as a dump of a command, or a line of another program
    DAMAGED = "damaged"  # a record cut short, or two mixed into one line


def parse(raw: str) -> LogLine | NoRecord:
    """Return the record in `raw`, or why there is none.

    Orthanc writes `I1110 11:40:45.073515 File.cpp:624] (category) text`, from 1.12.2 on with the thread's name before
    the file, and from 1.13 on with `| job UUID | ` before the category where the line belongs to a job.
    """
    raw = raw[:MAX_LINE_LENGTH]
    if "\x1b" in raw:
        raw = _COLOUR.sub("", raw)
    found = _RECORD.search(raw, 0, _MAX_PREFIX)
    if found is None:
        return NoRecord.DAMAGED if _DAMAGED.search(raw, 0, _MAX_PREFIX) else NoRecord.OTHER
    level, day, *clock = found.groups()
    time_us = _microseconds(day, *clock)
    head_ends = raw.find("] ", found.end(), found.end() + _MAX_HEAD)
    if time_us is None or head_ends < 0 or _SECOND_RECORD.search(raw, head_ends):
        return NoRecord.DAMAGED
    thread, _, location = raw[found.end() : head_ends].strip().rpartition(" ")
    text = raw[head_ends + 2 :].rstrip()
    context = _CONTEXT.match(text)
    text = text[context.end() :] if context else text
    category = _CATEGORY.match(text)
    return LogLine(
        time_us=time_us,
        level=level,
        process=_process(raw[: found.start()]),
        thread=thread.strip(),
        file=location.partition(":")[0] if not location.startswith("plugin:") else location,
        text=text[category.end() :] if category else text,
    )


def _microseconds(day: str, hours: str, minutes: str, seconds: str, fraction: str) -> int | None:
    ordinal = _day_of_year(day)
    # A leap second is written as second 60.
    if ordinal is None or int(hours) > 23 or int(minutes) > 59 or int(seconds) > 60:
        return None
    return ordinal * DAY_US + ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int(fraction)


@lru_cache(maxsize=400)
def _day_of_year(month_and_day: str) -> int | None:
    try:
        return (
            date(2000, int(month_and_day[:2]), int(month_and_day[2:])).timetuple().tm_yday
        )  # 2000 has a 29th of February
    except ValueError:
        return None


@lru_cache(maxsize=64)
def _process(prefix: str) -> str:
    """Return what docker-compose (the container) or journald (the process) puts before each line; "" without either."""
    found = _CONTAINER.match(prefix) or _UNIT.search(prefix)
    return found[1] if found else ""
