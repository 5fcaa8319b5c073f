"""Reads attachments from Orthanc's own index (SQLite) after a crash, before Orthanc opens it."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from deferred_delete import INDEXED_NEWEST_FIRST, HeaderCopy

# A table of Orthanc's index, schema version 6 (the only one since 2013). Its uuid has no index, so that each query
# reads the whole table.
_KNOWN = "SELECT uuid FROM AttachedFiles WHERE uuid IN (SELECT value FROM json_each(?))"
_BUSY_TIMEOUT_S = 5.0


class IndexUnreadableError(Exception):
    """Orthanc's index is there and cannot be read; the message is one line."""


def reader(path: Path) -> Callable[[Sequence[str]], set[str]] | None:
    """A function that gives those of some attachments that the index has.

    Args:
        path: the index, a file called `index` in IndexDirectory.

    Returns:
        None where there is no such file, because Orthanc uses another database.
    """
    return (lambda uuids: known(path, uuids)) if path.is_file() else None


def known(path: Path, attachment_uuids: Sequence[str]) -> set[str]:
    """Those of `attachment_uuids` that the index has.

    Raises:
        IndexUnreadableError: it is locked (by another Orthanc), damaged, or no index of Orthanc's.
    """
    with _opened(path) as connection:
        return {row[0] for row in connection.execute(_KNOWN, (json.dumps(list(attachment_uuids)),))}


def header_copies(path: Path) -> Callable[[], Iterator[HeaderCopy]] | None:
    """A function that lists the header copies of the index, newest first; None where there is no such file.

    Its iterator raises IndexUnreadableError as ``known`` does.
    """

    def listed() -> Iterator[HeaderCopy]:
        with _opened(path) as connection:
            for row in connection.execute(INDEXED_NEWEST_FIRST):
                yield HeaderCopy(*row)

    return listed if path.is_file() else None


def serves_this_process(path: Path) -> bool:
    """Whether this process has the index open, so that it is the database of this Orthanc."""
    try:
        index = path.stat()
        numbers = [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]
    except OSError:
        return False
    for number in numbers:
        with contextlib.suppress(OSError):
            status = os.fstat(number)
            if (status.st_dev, status.st_ino) == (index.st_dev, index.st_ino):
                return True
    return False


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    try:
        # Read-only: Orthanc replays the write-ahead log itself.
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        raise IndexUnreadableError(
            f"cannot ask Orthanc's index {path} which attachments are alive: {error}: expected a readable index, "
            "because the last run ended without a proper stop"
        ) from None
