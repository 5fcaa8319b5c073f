"""Takes over what the C++ DelayedDeletion plugin still had to delete.

Its database is one table, ``Pending(uuid TEXT, type INTEGER)``. None of its rows is changed: once all are in our
ledger, and the ledger is on disk, the file is renamed. A crash anywhere before that only makes us start over, which
changes nothing: rows recorded twice are one row, and files deleted meanwhile are completed deletions.
"""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from .errors import StorageError, TakeoverError
from .ledger.ledger import Ledger
from .ledger.schema import connect
from .storage.layout import check_uuid

_log = logging.getLogger(__name__)

PATTERN: Final = "pending-deletions.*.db"
_SUFFIX: Final = ".taken-over"
_BATCH: Final = 1000
_ROWS: Final = "SELECT rowid, uuid, type FROM Pending WHERE rowid > ? ORDER BY rowid LIMIT ?"


class Takeover(msgspec.Struct, frozen=True, kw_only=True):
    """The result: rows now in the ledger, rows that were there already, malformed rows, and where the file is."""

    recorded: int
    known: int
    malformed: int
    kept_as: Path


def find(storage_root: Path) -> list[Path]:
    """The C++ plugin's databases where it puts them by default, in order of name."""
    return sorted(storage_root.glob(PATTERN))


def take_over(database: Path, ledger: Ledger, grace_ms: int = 0) -> Takeover:
    """Records every deletion the database holds, then renames it to ``*.taken-over``.

    Rows that are no deletion (no UUID, no type) are counted, logged, and stay in the renamed file.

    Args:
        database: The C++ plugin's file.
        ledger: Where its rows go.
        grace_ms: The grace period they get, in ms.

    Raises:
        TakeoverError: Not such a database, damaged, or in use by another Orthanc.
        LedgerError: The ledger did not take the rows.
    """
    recorded = known = malformed = 0
    with _opened(database) as connection:
        for batch in _batches(connection):
            rows = [row for row in batch if _is_deletion(database, *row)]
            new = ledger.enqueue_many([(uuid, content_type) for _, uuid, content_type in rows], grace_ms)
            recorded, known, malformed = recorded + new, known + len(rows) - new, malformed + len(batch) - len(rows)
    ledger.sync()  # on disk, whatever Durability says, before the only other copy gets another name
    result = Takeover(recorded=recorded, known=known, malformed=malformed, kept_as=_rename(database))
    _log.warning("took over the pending deletions of %s: %s", database, result)
    return result


@contextlib.contextmanager
def _opened(database: Path) -> Iterator[sqlite3.Connection]:
    """Opens it exclusively, so that no other Orthanc adds rows meanwhile."""
    if not database.is_file():
        raise TakeoverError(f"there is no {database}: expected a database of the DelayedDeletion plugin")
    with contextlib.closing(connect(database)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError as error:
            raise TakeoverError(
                f"cannot take over {database}: {error}; expected the DelayedDeletion plugin's, not in use"
            ) from error
        except sqlite3.DatabaseError as error:
            raise TakeoverError(f"cannot take over {database}: {error}; expected a sound database") from error


def _batches(connection: sqlite3.Connection) -> Iterator[list[tuple[int, Any, Any]]]:
    connection.text_factory = bytes  # text that is no UTF-8 is a malformed row, not an error
    last = -(2**63)
    while rows := connection.execute(_ROWS, (last, _BATCH)).fetchall():
        yield [
            (rowid, uuid.decode("ascii", "replace") if isinstance(uuid, bytes) else uuid, kind)
            for rowid, uuid, kind in rows
        ]
        last = rows[-1][0]


def _is_deletion(database: Path, rowid: int, uuid: Any, content_type: Any) -> bool:
    try:
        check_uuid(uuid)
        if isinstance(content_type, int):
            return True
    except StorageError:
        pass
    _log.warning("row %d of %s is no deletion, left there: uuid %.80r, type %.20r", rowid, database, uuid, content_type)
    return False


def _rename(database: Path) -> Path:
    """Renames the file to a name that is free."""
    for number in range(1000):
        target = database.with_name(f"{database.name}{_SUFFIX}{f'.{number}' if number else ''}")
        if not target.exists():
            database.rename(target)
            return target
    raise TakeoverError(f"cannot rename {database}: a thousand {_SUFFIX} files stand beside it; expected one")
