"""Opens logs: files, compressed or not, and standard input; line by line, in bounded memory."""

import bz2
import errno
import gzip
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, nullcontext
from itertools import islice
from pathlib import Path
from typing import IO, Final, Protocol, cast

from .lines import MAX_LINE_LENGTH, LogLine, parse

_MAGICS: Final = (b"\x1f\x8b", b"\xfd7zXZ\x00", b"BZh")
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_LOOKED_AT: Final = 1000
"""Lines that are searched for a first record; what comes before it, such as a configuration, is short."""


class _Readable(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class EndsEarlyError(Exception):
    """The log could be read up to here and no further."""


def lines_of(name: str, progress: Callable[[int], None] | None = None) -> Iterator[str]:
    """Yield the lines of the log `name`, "-" for standard input; lines beyond MAX_LINE_LENGTH bytes come in pieces.

    Args:
        name: path of a log, plain or compressed with gzip, xz or bzip2.
        progress: told the bytes read from disk so far, now and then.

    Raises:
        OSError: the file cannot be opened, or is compressed otherwise.
        EndsEarlyError: reading failed on the way, as with a gzip file that is cut short.
    """
    if name == "-":
        yield from _lines(sys.stdin.buffer, None)
        return
    with Path(name).open("rb") as raw:
        report = (lambda: progress(raw.tell())) if progress else None
        stream = _unpacked(name, raw)
        try:
            with nullcontext() if stream is raw else closing(stream):
                yield from _lines(stream, report)
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            raise EndsEarlyError(f"{name}: {error}") from error


def in_time_order(names: Sequence[str]) -> list[str]:
    """Return logs in the order of their first records, so that orthanc.log may be named before orthanc.log.1.

    Lines do not tell the year. All times are put on a circle of one year, and the beginning is after its longest
    stretch without a log. A log without a record stays behind the one it was named after; with "-" among them, the
    order is that given.

    Raises:
        OSError: a file cannot be opened.
    """
    if "-" in names or len(names) < 2:
        return list(names)
    starts: list[int] = []
    for name in names:
        start_us = _first_time_us(name)
        starts.append(start_us if start_us is not None else starts[-1] if starts else 0)
    circle = sorted(set(starts))
    since_before = {time_us: (time_us - circle[number - 1]) % _YEAR_US for number, time_us in enumerate(circle)}
    begin_us = max(circle, key=lambda time_us: since_before[time_us])
    order = sorted(range(len(names)), key=lambda number: (starts[number] - begin_us) % _YEAR_US)
    return [names[number] for number in order]


_YEAR_US: Final = 366 * 86_400_000_000


def _first_time_us(name: str) -> int | None:
    lines = lines_of(name)
    try:
        records = (line for raw in islice(lines, _LOOKED_AT) if isinstance(line := parse(raw), LogLine))
        first = next(records, None)
    except EndsEarlyError:
        return None
    return first.time_us if first else None


def _unpacked(name: str, raw: IO[bytes]) -> IO[bytes]:
    begin = raw.read(6)
    raw.seek(0)
    if begin.startswith(_ZSTD_MAGIC):
        raise OSError(errno.EINVAL, "compressed with zstd, which is not read here: zstdcat it into 'read -'", name)
    if begin.startswith(_MAGICS[0]):
        return cast("IO[bytes]", gzip.open(raw))
    if begin.startswith(_MAGICS[1]):
        return cast("IO[bytes]", lzma.open(raw))
    return cast("IO[bytes]", bz2.open(raw)) if begin.startswith(_MAGICS[2]) else raw


def _lines(stream: _Readable, report: Callable[[], None] | None) -> Iterator[str]:
    number = 0
    while line := stream.readline(MAX_LINE_LENGTH):
        number += 1
        if report and number % 5000 == 0:
            report()
        yield line.decode("utf-8", "replace")
