"""Makes, checks and migrates a ledger's file. Nothing here ever deletes or overwrites one."""

import contextlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import sqlite_utils

from ..errors import LedgerError, LedgerRefusedError
from ..storage.layout import sync

# "ODel": what tells a ledger from any other SQLite database (byte 68 of the file, big-endian).
APPLICATION_ID: Final = 0x4F44656C
_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_PAGE_BYTES: Final = 1024
# A full check reads every page: about a second for each 200 MB. A ledger deeper than this is checked at its ends only.
_CHECK_WHOLE_BELOW_BYTES: Final = 64 * 1024 * 1024
_COLUMNS: Final = {
    "pending": {
        "pending_id",
        "attachment_uuid",
        "content_type",
        "enqueued_at",
        "state",
        "attempts",
        "next_attempt_at",
        "last_error",
    },
    "counts": {"only", "pending", "claimed", "failed"},
    "facts": {"name", "value"},
}
# Tables of later versions: their columns are not listed, only that they are there.
_TABLES: Final = {"resource_deletions", "resource_deletion_instances", "deleted_instances", "restores", "held"}


def _statements(name: str) -> Iterator[str]:
    """The statements of a file beside this one; executescript would commit the migration's transaction."""
    text = ""
    for line in Path(__file__).with_name(name).read_text("utf-8").splitlines(keepends=True):
        text += line
        if sqlite3.complete_statement(text):
            yield text
            text = ""


def _to_version_2(connection: sqlite3.Connection) -> None:
    """Background deletion of studies, and restore."""
    for statement in _statements("schema_2.sql"):
        connection.execute(statement)


def _to_version_3(connection: sqlite3.Connection) -> None:
    """Restores and deletions that end also when Orthanc keeps failing, and restores that can be cancelled."""
    for statement in _statements("schema_3.sql"):
        connection.execute(statement)


# MIGRATIONS[n] turns version n + 1 into n + 2, inside the transaction that also raises user_version.
MIGRATIONS: Final[tuple[Callable[[sqlite3.Connection], None], ...]] = (_to_version_2, _to_version_3)
SCHEMA_VERSION: Final = len(MIGRATIONS) + 1


def prepare(path: Path) -> None:
    """Leaves a ledger of the present version at ``path``: made if there is none, migrated if it is older.

    The caller holds the owner's lock.

    Raises:
        LedgerRefusedError: What is there is empty, corrupt, another program's, or from a newer version. It is left as
            it was.
        LedgerError: It could not be made or opened.
    """
    try:
        if not path.exists():
            _make(path)
        _check_header(path)
        with contextlib.closing(connect(path)) as connection:
            _check_version(path, connection)
            _migrate(connection)
            _check_content(path, connection)
    except OSError as error:
        raise LedgerError(
            f"cannot open the ledger {path}: {error.strerror}; expected a file in a folder Orthanc may write"
        ) from error
    except sqlite3.DatabaseError as error:
        raise LedgerRefusedError(f"the ledger {path} is damaged or not readable ({error}): {_REMEDY}") from error


_REMEDY: Final = "expected a sound ledger; keep the file aside, its deletions are then left to an audit for orphans"


def connect(path: Path, timeout_s: float = 0.0) -> sqlite3.Connection:
    """Opens a connection that commits each statement by itself, to be used by one thread at a time, under a lock."""
    return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)


def _make(path: Path) -> None:
    """Makes a ledger under another name first, so that a crash never leaves an empty file at the ledger's."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)  # left by a crash of this very function; it never held a row
    with contextlib.closing(connect(draft)) as connection:
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript(
            f"BEGIN;{Path(__file__).with_name('schema.sql').read_text('utf-8')};PRAGMA user_version = 1;COMMIT;"
        )
    sync(draft)
    draft.rename(path)
    sync(path.parent)


def _check_header(path: Path) -> None:
    """Checks the first bytes before SQLite would roll back another program's journal or fill an empty file."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if not header:
        raise LedgerRefusedError(f"the ledger {path} is an empty file: {_REMEDY}")
    if len(header) < _HEADER_BYTES or not header.startswith(_MAGIC):
        raise LedgerRefusedError(f"{path} is not a SQLite database: {_REMEDY}")
    (application_id,) = struct.unpack_from(">I", header, 68)
    if application_id != APPLICATION_ID:
        raise LedgerRefusedError(
            f"{path} is another program's database (application_id {application_id:#x}): expected a ledger, "
            f"{APPLICATION_ID:#x}; give the ledger another Path"
        )


def _check_version(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if not 1 <= version <= SCHEMA_VERSION:
        raise LedgerRefusedError(
            f"the ledger {path} has schema version {version}: expected 1 to {SCHEMA_VERSION}; "
            "a newer version of this bundle made it"
        )


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for step in range(version, SCHEMA_VERSION):
        connection.execute("BEGIN IMMEDIATE")
        try:
            MIGRATIONS[step - 1](connection)
            connection.execute(f"PRAGMA user_version = {step + 1}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise


def _check_content(path: Path, connection: sqlite3.Connection) -> None:
    database = sqlite_utils.Database(connection)
    for table, columns in _COLUMNS.items():
        if set(database[table].columns_dict) != columns:
            raise LedgerRefusedError(f"the ledger {path} has no proper table {table}: {_REMEDY}")
    missing = sorted(_TABLES - set(database.table_names()))
    if missing:
        raise LedgerRefusedError(f"the ledger {path} has no table {missing[0]}: {_REMEDY}")
    if path.stat().st_size < _CHECK_WHOLE_BELOW_BYTES:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise LedgerRefusedError(f"the ledger {path} is corrupt ({verdict.splitlines()[-1]}): {_REMEDY}")
