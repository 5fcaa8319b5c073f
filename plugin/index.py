"""Asks Orthanc's own index (SQLite) which attachments it knows, before Orthanc opens it; needed after a power cut only."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path

# Table of Orthanc's index, schema version 6 (the only one since 2013); uuid has no index, so each question reads the table once.
_KNOWN = "SELECT uuid FROM AttachedFiles WHERE uuid IN (SELECT value FROM json_each(?))"
_BUSY_TIMEOUT_S = 5.0


class IndexUnreadableError(Exception):
    """Orthanc's index is there and cannot be read; the message is one line."""


def reader(path: Path) -> Callable[[Sequence[str]], set[str]] | None:
    """A function that tells which of some attachments the index knows.

    Args:
        path: the index, a file called `index` in IndexDirectory.

    Returns:
        None where there is no such file: then another database serves Orthanc, and only that one could tell.
    """
    return (lambda uuids: known(path, uuids)) if path.is_file() else None


def known(path: Path, attachment_uuids: Sequence[str]) -> set[str]:
    """Those of `attachment_uuids` that the index has.

    Raises:
        IndexUnreadableError: it is locked (by another Orthanc), damaged, or no index of Orthanc's.
    """
    try:
        # Read-only: replaying the write-ahead log is left to Orthanc.
        with contextlib.closing(
            sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_BUSY_TIMEOUT_S)
        ) as connection:
            return {row[0] for row in connection.execute(_KNOWN, (json.dumps(list(attachment_uuids)),))}
    except sqlite3.Error as error:
        raise IndexUnreadableError(
            f"cannot ask Orthanc's index {path} which attachments are alive: {error}: expected a readable index, because the machine "
            "went down while deletions were pending"
        ) from None
