"""Reads logs from end to end."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from .account import Account
from .events import Kind, event_of
from .lines import DAY_US, LogLine, NoRecord, parse
from .pairing import Pairing
from .report import LogReport, report_of
from .sources import EndsEarlyError, in_time_order, lines_of

_CLOCK_JUMP_US: Final = 1_000_000
# Lines of different threads can be a little out of order.

_NEW_YEAR_US: Final = 300 * DAY_US
_YEAR_US: Final = 366 * DAY_US  # lines.py counts the days of a leap year
_PROCESSES: Final = 64


class _Process:
    """One Orthanc in the log: docker-compose mixes several."""

    def __init__(self, account: Account, name: str) -> None:
        self._account = account
        self._pairing = Pairing(account, name)
        self._latest_us = 0
        self._years_us = 0

    def see(self, line: LogLine) -> None:
        """Take in one record."""
        now_us = line.time_us + self._years_us
        if now_us < self._latest_us - _NEW_YEAR_US:
            self._years_us += _YEAR_US
            now_us += _YEAR_US
        if now_us < self._latest_us - _CLOCK_JUMP_US:
            self._account.counts["clock jumps"] += 1
            self._pairing.forget()
            self._latest_us = now_us
        self._latest_us = max(self._latest_us, now_us)
        event = event_of(line)
        if event is None:
            return
        if event.kind is Kind.RESTARTED:
            self._account.counts["restarts"] += 1
            self._pairing.forget()
        else:
            self._pairing.see(line.thread, now_us, event)

    def count_open(self) -> int:
        """Return how many instances have begun and not ended; they may have been stored after the log's end."""
        return self._pairing.count_open()


class LogReader:
    """Takes in lines of any kind, and reports what they tell."""

    def __init__(self) -> None:
        self._account = Account()
        self._processes: dict[str, _Process] = {}

    def feed(self, lines: Iterable[str]) -> None:
        """Take in lines, in the order of the log."""
        counts = self._account.counts
        for raw in lines:
            counts["lines"] += 1
            line = parse(raw)
            if isinstance(line, NoRecord):
                counts[line.value] += 1
                continue
            counts["records"] += 1
            if line.level in "IT":
                counts["verbose records"] += 1
            self._process(line.process).see(line)

    def note(self, problem: str) -> None:
        """Count a problem with the log as a whole."""
        self._account.counts[problem] += 1

    def report(self) -> LogReport:
        """Return what the lines so far tell; more may be fed afterwards."""
        return report_of(self._account, sum(process.count_open() for process in self._processes.values()))

    def _process(self, name: str) -> _Process:
        process = self._processes.get(name)
        if process is None:
            if len(self._processes) >= _PROCESSES:
                name = ""  # what looks like ever more containers is something else
            process = self._processes.setdefault(name, _Process(self._account, name))
        return process


def read_logs(names: Iterable[str], progress: Callable[[str, int], None] | None = None) -> LogReport:
    """Read logs as one, in the order of their first records.

    Args:
        names: paths, compressed or not; "-" is standard input, and keeps the order that is given.
        progress: told the name and the bytes read so far, now and then.

    Raises:
        OSError: a file cannot be opened.
    """
    reader = LogReader()
    for name in in_time_order(list(names)):
        feed_file(reader, name, progress)
    return reader.report()


def feed_file(reader: LogReader, name: str, progress: Callable[[str, int], None] | None = None) -> None:
    """Feed one log to `reader`, up to where it can be read.

    Raises:
        OSError: the file cannot be opened.
    """
    try:
        reader.feed(lines_of(name, partial(progress, name) if progress else None))
    except EndsEarlyError:
        reader.note("files that end early")
