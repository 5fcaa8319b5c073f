"""Reads Orthanc's SQLite index and the ledger from their files while Orthanc is stopped."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..ledger import queries
from ..ledger.ownership import OwnerLock
from ..ledger.power_loss import ended_badly
from ..ledger.unmoved import unmoved
from ..storage import header_copies as headers
from ..storage.header_copies import HeaderCopy
from .comparison import Attachment, AuditError

# Table of Orthanc's index, schema version 6 (the only one since 2013). uuid has no index: SQLite sorts, in a file
# beyond its cache.
_ATTACHMENTS: Final = "SELECT uuid, compressedSize, rowid FROM AttachedFiles ORDER BY uuid"
_CACHE_KIB: Final = 32 * 1024
_WAITS: Final = "SELECT 1 FROM pending WHERE attachment_uuid = ?"
_HELD: Final = "SELECT 1 FROM held WHERE attachment_uuid = ?"


class StoppedIndex:
    """The index of an Orthanc that is stopped.

    Args:
        connection: To its file.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        connection.execute("PRAGMA temp_store = FILE")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")

    def attachments(self) -> Iterator[Attachment]:
        """All of them, in order of their UUID."""
        for uuid, size_bytes, row in self._connection.execute(_ATTACHMENTS):
            yield Attachment(uuid, size_bytes, row=row)

    def header_copies(self) -> Iterator[HeaderCopy]:
        """Those that a start looks for, newest first."""
        return (HeaderCopy(*found) for found in self._connection.execute(headers.INDEXED_NEWEST_FIRST))

    def header_copy(self, row: int) -> HeaderCopy | None:
        """The one of them in this row; None if there is another attachment."""
        found = self._connection.execute(headers.INDEXED_AT_ROW, (row,)).fetchone()
        return HeaderCopy(*found) if found else None


class StoppedLedger:
    """The ledger of an Orthanc that is stopped, with what waits in its journal.

    Args:
        path: Its file.
        connection: To it; None where there is no ledger: then nothing waits, and nobody knows how Orthanc ended.
    """

    def __init__(self, path: Path | None, connection: sqlite3.Connection | None) -> None:
        self._connection = connection
        self._in_journal: set[str] = set()
        if path is not None and connection is not None:
            self._facts: dict[str, str] = dict(connection.execute(queries.FACTS).fetchall())
            self._in_journal = {record.attachment_uuid for record in unmoved(path, self._facts)}
            tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            # A ledger of version 1 that was not opened since has no table of held files.
            self._statements = [_WAITS, _HELD] if "held" in tables else [_WAITS]

    def waits(self, attachment_uuid: str) -> bool:
        """Whether it has a pending deletion of an attachment."""
        connection = self._connection
        return connection is not None and (
            attachment_uuid in self._in_journal
            or any(connection.execute(statement, (attachment_uuid,)).fetchone() for statement in self._statements)
        )

    def headers_within_s(self) -> float | None:
        """How far back the next start will look for header copies, as headers.how_far_back_s says."""
        if self._connection is None:
            return None
        facts = self._facts
        return headers.how_far_back_s(
            unclean=ended_badly(facts["clean"], facts["boot_id"]), known_missing=facts.get("headers_missing") == "1"
        )


@contextlib.contextmanager
def stopped_index(path: Path) -> Iterator[StoppedIndex]:
    """Reads a stopped Orthanc's index. Orthanc cannot start meanwhile.

    Raises:
        AuditError: No SQLite index, in use by an Orthanc that runs, or damaged.
    """
    if not path.is_file():
        raise AuditError(
            f"there is no SQLite index {path}: expected Orthanc's file `index` (--index); where PostgreSQL or MySQL "
            "serves Orthanc it cannot be read from here, but POST /deferred-delete/audit can ask Orthanc"
        )
    with _read_only(path, "Orthanc's index") as connection:
        yield StoppedIndex(connection)


@contextlib.contextmanager
def stopped_ledger(path: Path | None) -> Iterator[StoppedLedger]:
    """Reads a stopped Orthanc's ledger, and owns it meanwhile.

    Args:
        path: None where there is no ledger.

    Raises:
        LedgerRefusedError: In use, by an Orthanc that runs.
        AuditError: Damaged, or no ledger.
    """
    if path is None:
        yield StoppedLedger(None, None)
        return
    owner = OwnerLock(path)
    try:
        with _read_only(path, "the ledger") as connection:
            yield StoppedLedger(path, connection)
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
