"""The list of deleted studies that can still be restored, made from the headers of files that wait."""

from collections.abc import Sequence
from typing import Final

import msgspec

from ..studies.dicom_header import Header
from . import deleted_study_queries as queries
from .database import Database, encode

# Rows changed in one transaction. An enqueue may have to wait that long.
_ROWS_PER_WRITE: Final = 200
_STUDIES_AT_ONCE: Final = 50
_MAX_LISTED: Final = 1000


class DeletedStudy(msgspec.Struct, frozen=True, kw_only=True):
    """A deleted study that still has files. Times are seconds since 1970; none is due before ``restorable_until``."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    study_date: str
    study_description: str
    modality: str
    instances: int
    instances_known: int
    bytes: int
    deleted_at: float
    restorable_until: float


class DeletedStudies:
    """Deleted studies, in the ledger's database. Safe to use from any thread; every method raises LedgerError.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def unread(self, after_id: int, limit: int) -> list[tuple[int, str]]:
        """Waiting DICOM files whose headers have not been read: pending_id (ascending) and attachment UUID."""
        return self._database.query(queries.UNREAD, after_id, limit)

    def read_until(self) -> int:
        """The pending_id up to which headers have been read."""
        return int(self._database.query(queries.READ_UNTIL)[0][0])

    def remembered(self) -> int:
        """How many instances are recorded."""
        return int(self._database.query(queries.REMEMBERED)[0][0])

    def remember(self, rows: Sequence[tuple[int, str, int, Header | None]]) -> None:
        """Records what was read of headers.

        Args:
            rows: For each file its pending_id, attachment UUID, size in bytes and header; None for a file without one.
        """
        flat = [(*row[:3], *(row[3] or (None,) * len(Header._fields))) for row in rows]
        if flat:
            self._database.write("note headers in", queries.REMEMBER, encode(flat))

    def forget_gone(self) -> bool:
        """Forgets some instances of studies of which no file waits any more; returns whether there may be more."""
        rows = self._database.query(queries.NAMELESS_GONE, _ROWS_PER_WRITE)
        for (study,) in self._database.query(queries.GONE_STUDIES, _STUDIES_AT_ONCE):
            rows += self._database.query(queries.OF_STUDY, study, _ROWS_PER_WRITE)
        for begin in range(0, len(rows), _ROWS_PER_WRITE):
            self._database.write(
                "tidy", queries.FORGET, encode([row[0] for row in rows[begin : begin + _ROWS_PER_WRITE]])
            )
        return len(rows) >= _ROWS_PER_WRITE

    def listed(self, limit: int = _MAX_LISTED) -> list[DeletedStudy]:
        """Studies that can be restored, as far as headers have been read; the newest deletion comes first."""
        return [
            DeletedStudy(
                study_instance_uid=row[0],
                patient_id=row[1],
                patient_name=row[2],
                study_date=row[3],
                study_description=row[4],
                modality=row[5],
                instances=row[6],
                instances_known=row[7],
                bytes=row[8],
                deleted_at=row[9] / 1000,
                restorable_until=row[10] / 1000,
            )
            for row in self._database.query(queries.DELETED_STUDIES, limit)
        ]
