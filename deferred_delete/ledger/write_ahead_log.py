"""Copies SQLite's write-ahead log back into the ledger's file."""

import sqlite3
from collections.abc import Callable
from typing import Final

from . import queries

# Changed rows after which the worker copies the log back: about 4 MB of log.
_COPY_AFTER_CHANGES: Final = 800
# While deletions never pause, the log may grow faster than it is copied back. At about 250 MB it is emptied, and one
# enqueue has to wait for a sync.
_EMPTY_AFTER_CHANGES: Final = 50_000


class WriteAheadLog:
    """Decides when the log is long, and runs the checkpoints. Every method raises sqlite3.Error.

    Args:
        connection: Used for checkpoints only.
        changes: How many rows were changed since the ledger was opened.
    """

    def __init__(self, connection: sqlite3.Connection, changes: Callable[[], int]) -> None:
        self._connection = connection
        self._changes = changes
        self._copied_changes = 0

    @property
    def due(self) -> bool:
        """Whether the log has grown enough to be copied back."""
        return self._changes() - self._copied_changes >= _COPY_AFTER_CHANGES

    @property
    def too_long(self) -> bool:
        """Whether the log has to be emptied, although enqueues wait for that."""
        return self._changes() - self._copied_changes >= _EMPTY_AFTER_CHANGES

    def copy_back(self) -> bool:
        """Copies back what it can while others write; returns whether that was all."""
        changes = self._changes()
        _, logged, copied = self._connection.execute(queries.CHECKPOINT_PASSIVE).fetchone()
        if logged == copied:
            self._copied_changes = changes
        return bool(logged == copied)

    def empty(self) -> None:
        """Copies everything back and empties the log; others wait meanwhile."""
        changes = self._changes()
        busy, _, _ = self._connection.execute(queries.CHECKPOINT_TRUNCATE).fetchone()
        if not busy:
            self._copied_changes = changes
