"""The ledger's SQLite database: its connections, its locks, its log.

Four connections in WAL mode, each with its own duty and its own lock:

* the intake records deletions. Orthanc holds its index lock meanwhile, so it runs one prepared statement, never
checkpoints, and
  syncs only with Durability "power";
* the drain is for everything else that writes. It never syncs at commit: a transition lost to a power cut is done
again, and
  unlinking a missing file is harmless;
* the reader answers questions. In WAL mode readers neither wait nor make anybody wait;
* the checkpointer copies the log back. A connection is a mutex: on any other one, a checkpoint's syncs would stall its
users.

SQLite lets one connection write at a time. No lock of ours stands before that, on purpose: a thread that holds one
needs Python's global lock to let it go, and while some other thread computes that takes 5 ms for each step. SQLite's
own lock is held for one statement, inside one call that needs nothing of Python's (see queries.py).
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

# Changes after which the worker copies the log back: about 4 MB of it.
_CHECKPOINT_EVERY: Final = 800
# The log may outrun passive checkpoints while deletions never pause; at about 250 MB of it, one enqueue has to wait for
# a sync.
_CHECKPOINT_FORCED_AT: Final = 50_000
# How long an enqueue bears with our own drain, which is at most syncing the head of the log: unlinking at once, on the
# same slow disk, would be no faster, and without the grace period.
_PATIENCE_S: Final = 1.0
# So often in a row it does not happen to be our drain: where time alone would be misread on a machine that is out of
# breath.
_TRIES: Final = 20
# Between two tries. SQLite's own handler starts with 1 ms and goes on to 25.
_RETRY_S: Final = 0.0002
# How long the drain waits; it holds nothing of ours meanwhile, but stop has to be prompt.
_DRAIN_TIMEOUT_S: Final = 0.3


class Database:
    """Opens a ledger's file, alone; see the module for its parts.

    Args:
        path: The ledger's file; made if missing, in a folder that exists.
        durability: Whether the intake syncs at each commit.
        busy_timeout_s: How long the intake waits for another process.

    Raises:
        LedgerRefusedError: Not a ledger, corrupt, from the future, or open elsewhere. The file is left as it was.
        LedgerError: It could not be made or opened.

    Attributes:
        intake_lock: To be held around ``enqueue``.
    """

    def __init__(self, path: Path, durability: Durability, busy_timeout_s: float) -> None:
        self.path = path
        self.intake_lock = threading.Lock()
        self._drain_lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._busy_timeout_s = busy_timeout_s
        self._closed = False
        self._copied_back = 0
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
        self._recorder = self._intake.cursor()

    def close(self, *, clean: bool = True) -> None:
        """Copies the log back, notes that all is well if it is, and lets the file go. Harmless when closed already."""
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
                self._recorder.execute(queries.ENQUEUE, row)
                return
            except (sqlite3.Error, OverflowError) as error:
                translated = self._error("record a deletion in", error)
                # Our own drain at work shows in its lock, or in being gone at one of the next tries.
                ours = self._drain_lock.locked() or tries < _TRIES
                patience_s = _PATIENCE_S if ours else self._busy_timeout_s
                if not isinstance(translated, LedgerBusyError) or time.monotonic() - started >= patience_s:
                    raise translated from error
            time.sleep(_RETRY_S)

    def write(self, action: str, statement: str, *parameters: Any) -> int:
        """Runs one changing statement, its own transaction; returns how many rows it changed.

        Raises:
            LedgerError: Nothing was changed.
        """
        with self._translated(action), self._drain_lock:
            self._check_open()
            return self._drain.execute(statement, parameters).rowcount

    def write_returning(self, action: str, statement: str, *parameters: Any) -> list[Any]:
        """Runs one changing statement, its own transaction; returns what it returns. Raises as ``write``."""
        with self._translated(action), self._drain_lock:
            self._check_open()
            return self._drain.execute(statement, parameters).fetchall()

    def query(self, statement: str, *parameters: Any) -> list[Any]:
        """All the rows of one reading statement.

        Raises:
            LedgerError: It could not be read.
        """
        with self._translated("read"), self._read_lock:
            self._check_open()
            return self._reader.execute(statement, parameters).fetchall()

    @property
    def checkpoint_due(self) -> bool:
        """Whether the log has grown enough to be copied back."""
        return not self._closed and self._changes() - self._copied_back >= _CHECKPOINT_EVERY

    def checkpoint(self) -> None:
        """Copies the log back into the ledger and syncs; the worker's duty, outside Orthanc's locks.

        A passive checkpoint lets enqueues go on. When it got to the end, SQLite starts the log over at the next write
        and syncs the log's new head before it: the small write here takes that sync upon itself, so that hardly any
        enqueue has to. It writes the time, as SQLite skips a write that changes nothing.

        Raises:
            LedgerError: The log could not be copied; it stays and grows.
        """
        with self._translated("checkpoint"):
            self._check_open()
            seen = self._changes()
            if seen - self._copied_back >= _CHECKPOINT_FORCED_AT:
                self.checkpoint_fully()
                return
            _, logged, copied = self._checkpointer.execute(queries.CHECKPOINT_PASSIVE).fetchone()
        if logged == copied:
            self._copied_back = seen
            self.write("start the log over in", queries.WRITE_FACTS, encode({"copied_back": str(time.time_ns())}))

    def checkpoint_fully(self) -> None:
        """Copies all of the log back, syncs, and empties it. Enqueues wait: for start, close and emergencies."""
        with self._translated("checkpoint"), self._drain_lock:
            self._check_open()
            seen = self._changes()
            busy, _, _ = self._checkpointer.execute(queries.CHECKPOINT_TRUNCATE).fetchone()
            if not busy:
                self._copied_back = seen

    def _changes(self) -> int:
        """Rows changed since open, by SQLite's own count; the triggers' included."""
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
