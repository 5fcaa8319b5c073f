"""Shows the stages from a log that is being written, until the operator ends it."""

import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.live import Live

from .finding import NAMES
from .follow import POLL_S, FollowedFile, batches
from .reader import LogReader, feed_file
from .report import LogReport
from .sources import in_time_order
from .text import render_live

REFRESH_S: Final = 1.0
LINE_EVERY_S: Final = 10.0


def follow_logs(names: Sequence[str], console: Console, every_s: float = LINE_EVERY_S) -> LogReader:
    """Read the logs before the last one, then follow the last until Ctrl-C or SIGTERM; return the reader as it is then.

    On a terminal a table is redrawn each second; elsewhere a line is printed each `every_s` seconds.

    Raises:
        OSError: a file cannot be read. The followed one need not be there yet.
    """
    reader = LogReader()
    *before, followed = names
    for name in in_time_order(before):
        feed_file(reader, name)
    with suppress(KeyboardInterrupt), _sigterm_as_interrupt():
        if console.is_terminal:
            with Live(console=console, auto_refresh=False, transient=True, vertical_overflow="crop") as live:
                _watch(
                    reader,
                    followed,
                    lambda: live.update(render_live(reader.report(), followed), refresh=True),
                    REFRESH_S,
                )
        else:
            _watch(reader, followed, lambda: console.print(status_line(reader.report()), soft_wrap=True), every_s)
    return reader


def status_line(report: LogReport) -> str:
    """Return one line: when, and what came in over each protocol so far."""
    parts = [f"{datetime.now(UTC).astimezone():%H:%M:%S} {report.counts.get('records', 0):,} records"]
    for protocol in report.protocols:
        medians = {entry.stage: entry.p50_ms for entry in (*protocol.stages, *protocol.beside)}
        told = [f"{name} p50 {medians[name]:.1f} ms" for name in ("total", "gap") if name in medians]
        parts.append(f"{NAMES[protocol.protocol]} {protocol.instances:,} instances, {', '.join(told)}".rstrip(", "))
    return "; ".join(parts)


def _watch(reader: LogReader, name: str, show: Callable[[], None], every_s: float) -> None:
    file = FollowedFile(Path(name))
    rotations = 0
    shown_at: float | None = None
    begun_at = time.monotonic()
    try:
        for lines in batches(file):
            reader.feed(lines)
            while rotations < file.rotations:
                reader.note("rotations")
                rotations += 1
            # First when all that is there has been read, or that takes long.
            caught_up = shown_at is None and not lines
            if caught_up or time.monotonic() - (shown_at or begun_at) >= every_s - POLL_S / 2:
                show()
                shown_at = time.monotonic()
    finally:
        file.close()


class _sigterm_as_interrupt:  # noqa: N801 - a context manager, used like a function
    """Ends the watching on SIGTERM as on Ctrl-C: the report is still printed. Only the main thread may ask for this."""

    def __enter__(self) -> None:
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, signal.default_int_handler)

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)
