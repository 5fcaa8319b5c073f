"""Opens logs: files, gzipped or not, and standard input; line by line, in bounded memory."""

import gzip
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from .lines import MAX_LINE_LENGTH

_GZIP_MAGIC: Final = b"\x1f\x8b"


class _Readable(Protocol):
    def readline(self, size: int, /) -> bytes: ...


class EndsEarlyError(Exception):
    """The log could be read up to here and no further."""


def lines_of(name: str, progress: Callable[[int], None] | None = None) -> Iterator[str]:
    """Yield the lines of the log `name`, "-" for standard input; what is longer than MAX_LINE_LENGTH bytes comes in pieces.

    Args:
        name: path of a log, gzipped or not.
        progress: told the bytes read from disk so far, now and then.

    Raises:
        OSError: the file cannot be opened.
        EndsEarlyError: reading failed on the way, as with a gzip file that is cut short.
    """
    if name == "-":
        yield from _lines(sys.stdin.buffer, None)
        return
    with Path(name).open("rb") as raw:
        zipped = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        report = (lambda: progress(raw.tell())) if progress else None
        try:
            if zipped:
                with gzip.open(raw) as unzipped:
                    yield from _lines(unzipped, report)
            else:
                yield from _lines(raw, report)
        except (OSError, EOFError, zlib.error) as error:
            raise EndsEarlyError(f"{name}: {error}") from error


def _lines(stream: _Readable, report: Callable[[], None] | None) -> Iterator[str]:
    number = 0
    while line := stream.readline(MAX_LINE_LENGTH):
        number += 1
        if report and number % 5000 == 0:
            report()
        yield line.decode("utf-8", "replace")
