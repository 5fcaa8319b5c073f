"""What Orthanc's SQLite index and the ledger know, read from their files while Orthanc is stopped."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from .audit import Attachment, AuditError
from .ownership import OwnerLock

# Table of Orthanc's index, schema version 6 (the only one since 2013). uuid has no index: SQLite sorts, in a file beyond its cache.
_ATTACHMENTS: Final = "SELECT uuid, compressedSize FROM AttachedFiles ORDER BY uuid"
_CACHE_KIB: Final = 32 * 1024
_WAITS: Final = "SELECT 1 FROM pending WHERE attachment_uuid = ?"
_HELD: Final = "SELECT 1 FROM held WHERE attachment_uuid = ?"


@contextlib.contextmanager
def index_attachments(path: Path) -> Iterator[Iterator[Attachment]]:
    """The attachments of a stopped Orthanc's index, in order of their UUID. Orthanc cannot start meanwhile.

    Raises:
        AuditError: No SQLite index, in use by an Orthanc that runs, or damaged.
    """
    if not path.is_file():
        raise AuditError(
            f"there is no SQLite index {path}: expected Orthanc's file `index` (--index); where PostgreSQL or MySQL serves Orthanc "
            "it cannot be read from here, but POST /deferred-delete/audit can ask Orthanc"
        )
    with _read_only(path, "Orthanc's index") as connection:
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        rows = connection.execute(_ATTACHMENTS)
        yield (Attachment(uuid, size_bytes) for uuid, size_bytes in rows)


@contextlib.contextmanager
def ledger_lookup(path: Path | None) -> Iterator[Callable[[str], bool]]:
    """Whether a stopped Orthanc's ledger has a pending deletion of an attachment. The ledger is owned meanwhile.

    Args:
        path: None where there is no ledger: then nothing waits.

    Raises:
        LedgerRefusedError: In use, by an Orthanc that runs.
        AuditError: Damaged, or no ledger.
    """
    if path is None:
        yield lambda _: False
        return
    owner = OwnerLock(path)
    try:
        with _read_only(path, "the ledger") as connection:
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            # A ledger of version 1 that was not opened since has no table of held files.
            statements = [_WAITS, _HELD] if "held" in tables else [_WAITS]
            yield lambda uuid: any(connection.execute(statement, (uuid,)).fetchone() for statement in statements)
    finally:
        owner.release()


@contextlib.contextmanager
def _read_only(path: Path, what: str) -> Iterator[sqlite3.Connection]:
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=2.0)
        ) as connection:
            yield connection
    except sqlite3.Error as error:
        hint = "stop Orthanc, or POST /deferred-delete/audit to the one that runs" if "locked" in str(error) else ""
        raise AuditError(
            f"cannot read {what} {path}: {error}; expected a sound file, not in use{hint and ': '}{hint}"
        ) from None
