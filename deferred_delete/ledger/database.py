"""The ledger's SQLite database: its connections, its locks and its write-ahead log.

Four connections in WAL mode, each with its own purpose:

* ``_intake`` records deletions. Orthanc holds its index lock meanwhile, so it runs one prepared statement and never a
  checkpoint. It syncs only with Durability "power".
* ``_drain`` does all other writing. It never syncs at commit: a change lost to a power cut is made again, and unlinking
  a missing file is harmless.
* ``_reader`` answers queries. In WAL mode readers do not wait for writers, nor writers for readers.
* ``_checkpointer`` copies the log back. SQLite serialises all use of one connection, so on any other connection the
  checkpoint's syncs would stall its users.

SQLite lets one connection write at a time. We deliberately do not put a lock of our own before that: a Python thread
that holds one needs the GIL to release it, which takes 5 ms for each step while another thread computes. SQLite's lock
is held for one statement, inside one call that does not need the GIL (see queries.py).
"""

import contextlib
import itertools
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from ..errors import LedgerBusyError, LedgerClosedError, LedgerError
from ..settings import Durability
from . import queries, schema
from .ownership import OwnerLock
from .write_ahead_log import WriteAheadLog

# How long an enqueue waits for our own drain, which at worst is syncing the head of the log. Unlinking the file at once
# instead would be no faster on the same slow disk, and would ignore the grace period.
_OWN_DRAIN_TIMEOUT_S: Final = 1.0
# For this many tries the other writer may be our own drain, although its lock is free: it may have finished between our
# try and our look at its lock. Counted, because elapsed time misleads on an overloaded machine.
_OWN_DRAIN_TRIES: Final = 20
# Pause between two tries. SQLite's own busy handler starts with 1 ms and goes up to 25 ms.
_RETRY_S: Final = 0.0002
# How long the drain waits for another writer. Short, so that a stop is prompt.
_DRAIN_TIMEOUT_S: Final = 0.3


class Database:
    """An open ledger file, with this process as its only owner.

    Args:
        path: The ledger's file; made if missing, in a folder that exists.
        durability: Whether the intake syncs at each commit.
        busy_timeout_s: How long the intake waits for another process.

    Raises:
        LedgerRefusedError: Not a ledger, corrupt, from the future, or open elsewhere. The file is left as it was.
        LedgerError: It could not be made or opened.

    Attributes:
        intake_lock: The caller holds it around ``enqueue``.
    """

    def __init__(self, path: Path, durability: Durability, busy_timeout_s: float) -> None:
        self.path = path
        self.intake_lock = threading.Lock()
        self._drain_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._busy_timeout_s = busy_timeout_s
        self._closed = False
        self._owner = OwnerLock(path)
        with contextlib.ExitStack() as undo:
            undo.callback(self._owner.release)
            schema.prepare(path)
            with self._translated("open"):
                self._connect(undo, durability)
            undo.pop_all()

    def _connect(self, undo: contextlib.ExitStack, durability: Durability) -> None:
        timeouts_s = (0.0, _DRAIN_TIMEOUT_S, _DRAIN_TIMEOUT_S, 0.0)
        self._connections = tuple(
            undo.enter_context(contextlib.closing(schema.connect(self.path, timeout_s))) for timeout_s in timeouts_s
        )
        self._intake, self._drain, self._reader, self._checkpointer = self._connections
        for connection in self._connections:
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        if durability == "power":
            self._intake.execute("PRAGMA synchronous = FULL")
        self._reader.execute("PRAGMA query_only = ON")
        self._enqueue_cursor = self._intake.cursor()
        self._log = WriteAheadLog(self._checkpointer, self._changes)

    def close(self, *, clean: bool = True) -> None:
        """Copies the log back and closes the file. Harmless when closed already.

        Args:
            clean: False records that the next start has to check what this run left.
        """
        with self.intake_lock, self._drain_lock, self._read_lock:
            if self._closed:
                return
            self._closed = True
            # A full disk is no reason not to close: the log stays and is replayed at the next open.
            with contextlib.suppress(sqlite3.Error):
                self._drain.execute(queries.WRITE_FACTS, (encode({"clean": str(int(clean))}),))
                self._checkpointer.execute(queries.CHECKPOINT_TRUNCATE).fetchone()
            for connection in self._connections:
                connection.close()
            self._owner.release()

    def enqueue(self, row: tuple[Any, ...]) -> None:
        """Runs ENQUEUE; the caller holds ``intake_lock``.

        Raises:
            LedgerBusyError: Another process kept the write lock for longer than the busy timeout.
            LedgerError: The row was not recorded.
        """
        self._check_open()
        started = time.monotonic()
        for tries in itertools.count(1):
            try:
                self._enqueue_cursor.execute(queries.ENQUEUE, row)
                return
            except (sqlite3.Error, OverflowError) as error:
                translated = self._error("record a deletion in", error)
                if not isinstance(translated, LedgerBusyError) or self._waited_enough(started, tries):
                    raise translated from error
            time.sleep(_RETRY_S)

    def _waited_enough(self, started: float, tries: int) -> bool:
        """Whether an enqueue that found the database busy gives up."""
        our_drain = self._drain_lock.locked() or tries < _OWN_DRAIN_TRIES
        return time.monotonic() - started >= (_OWN_DRAIN_TIMEOUT_S if our_drain else self._busy_timeout_s)

    def write(self, action: str, statement: str, *parameters: Any) -> int:
        """Runs one statement in a transaction of its own; returns how many rows it changed.

        Raises:
            LedgerError: Nothing was changed.
        """
        with self._translated(action), self._drain_lock:
            self._check_open()
            return self._drain.execute(statement, parameters).rowcount

    def write_returning(self, action: str, statement: str, *parameters: Any) -> list[Any]:
        """Runs one statement in a transaction of its own; returns its RETURNING rows. Raises as ``write``."""
        with self._translated(action), self._drain_lock:
            self._check_open()
            return self._drain.execute(statement, parameters).fetchall()

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """Returns all rows of a SELECT.

        Raises:
            LedgerError: It could not be read.
        """
        with self._translated("read"), self._read_lock:
            self._check_open()
            return self._reader.execute(statement, parameters).fetchall()

    @property
    def checkpoint_due(self) -> bool:
        """Whether the log has grown enough to be copied back."""
        return not self._closed and self._log.due

    def checkpoint(self) -> None:
        """Copies the log back into the ledger and syncs. The worker calls it, outside Orthanc's locks.

        Enqueues go on meanwhile. After a complete copy, the next write starts the log over and syncs its new head. A
        small write here does so at once, so that hardly any enqueue waits for that sync. It writes the time, because
        SQLite skips a write that changes nothing.

        Raises:
            LedgerError: The log could not be copied; it stays and grows.
        """
        with self._translated("checkpoint"):
            self._check_open()
            if self._log.too_long:
                self.checkpoint_fully()
                return
            complete = self._log.copy_back()
        if complete:
            self.write("start the log over in", queries.WRITE_FACTS, encode({"copied_back": str(time.time_ns())}))

    def checkpoint_fully(self) -> None:
        """Copies the whole log back, syncs and empties it. Enqueues wait meanwhile: for start and emergencies."""
        with self._translated("checkpoint"), self._drain_lock:
            self._check_open()
            self._log.empty()

    def _changes(self) -> int:
        """Rows changed since open, counted by SQLite, including those changed by triggers."""
        return self._intake.total_changes + self._drain.total_changes

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
