"""The ledger's connections to SQLite, and their locks.

Two connections in WAL mode: ``_writer`` does all writing, ``_reader`` answers queries. In WAL mode readers do not wait
for writers, nor writers for readers.

Orthanc never waits for anything here: what it asks to remove goes into the intake journal (journal/), and the worker
brings it here. So the writer may copy the log back by itself, with a sync, when it has grown (SQLite's automatic
checkpoint), and what is not synced until then is made again after a power cut, or lost (design.md tells which).
"""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import LedgerBusyError, LedgerClosedError, LedgerError
from ..storage.layout import sync
from . import queries, schema
from .ownership import OwnerLock

# The log is copied back when it has grown to so many pages, 4 MB.
_CHECKPOINT_PAGES: Final = 4000


class Database:
    """An open ledger file, with this process as its only owner.

    Args:
        path: The ledger's file; made if missing, in a folder that exists.
        busy_timeout_s: How long a write waits for another process.

    Raises:
        LedgerRefusedError: Not a ledger, corrupt, from the future, or open elsewhere. The file is left as it was.
        LedgerError: It could not be made or opened.
    """

    def __init__(self, path: Path, busy_timeout_s: float) -> None:
        self.path = path
        self._write_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._closed = False
        self._owner = OwnerLock(path)
        with contextlib.ExitStack() as undo:
            undo.callback(self._owner.release)
            schema.prepare(path)
            with self._translated("open"):
                self._writer = undo.enter_context(contextlib.closing(schema.connect(path, busy_timeout_s)))
                self._reader = undo.enter_context(contextlib.closing(schema.connect(path, busy_timeout_s)))
                self._writer.execute("PRAGMA synchronous = NORMAL")
                self._writer.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
                self._reader.execute("PRAGMA query_only = ON")
            undo.pop_all()

    def close(self, *, clean: bool = True) -> None:
        """Copies the log back and closes the file. Harmless when closed already.

        Args:
            clean: False records that the next start has to check what this run left.
        """
        with self._write_lock, self._read_lock:
            if self._closed:
                return
            self._closed = True
            # A full disk is no reason not to close: the log stays and is replayed at the next open.
            with contextlib.suppress(sqlite3.Error):
                self._writer.execute(queries.WRITE_FACTS, (encode({"clean": str(int(clean))}),))
            self._reader.close()
            self._writer.close()  # the last connection copies the log back
            self._owner.release()

    def write(self, action: str, statement: str, *parameters: Any) -> int:
        """Runs one statement in a transaction of its own; returns how many rows it changed.

        Raises:
            LedgerError: Nothing was changed.
        """
        with self._translated(action), self._write_lock:
            self._check_open()
            return self._writer.execute(statement, parameters).rowcount

    def write_returning(self, action: str, statement: str, *parameters: Any) -> list[Any]:
        """Runs one statement in a transaction of its own; returns its RETURNING rows. Raises as ``write``."""
        with self._translated(action), self._write_lock:
            self._check_open()
            return self._writer.execute(statement, parameters).fetchall()

    def write_together(self, action: str, *steps: tuple[str, tuple[Any, ...]]) -> list[int]:
        """Runs several statements in one transaction; returns how many rows each changed. Raises as ``write``."""
        with self._translated(action), self._write_lock:
            self._check_open()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                changed = [self._writer.execute(*step).rowcount for step in steps]
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:  # an error of the disk has rolled it back already
                    self._writer.execute("ROLLBACK")
                raise
            return changed

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """Returns all rows of a SELECT.

        Raises:
            LedgerError: It could not be read.
        """
        with self._translated("read"), self._read_lock:
            self._check_open()
            return self._reader.execute(statement, parameters).fetchall()

    def sync(self) -> None:
        """Brings everything that is recorded to the disk, by syncing the log. Raises LedgerError."""
        with self._write_lock:
            self._check_open()
            try:
                sync(self.path.with_name(f"{self.path.name}-wal"))
                sync(self.path.parent)
            except FileNotFoundError:
                return  # nothing is logged: the ledger's file has it all
            except OSError as error:
                raise self._error("sync", error) from error

    def _check_open(self) -> None:
        if self._closed:
            raise LedgerClosedError(f"the ledger {self.path} is closed: expected it to be used between start and stop")

    @contextlib.contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OverflowError) as error:
            raise self._error(action, error) from error

    def _error(self, action: str, error: Exception) -> LedgerError:
        busy = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
        kind = LedgerBusyError if busy else LedgerError
        return kind(f"cannot {action} the ledger {self.path}: {error}; expected a sound file on a disk with room")


def encode(rows: Any) -> str:
    """Rows as the JSON that the statements take them in."""
    return msgspec.json.encode(rows).decode()
