"""Reads the headers of files that wait for their deletion, for the list of deleted studies."""

import time
from typing import Final

from ..errors import StorageError
from ..ledger.ledger import Ledger
from ..storage.storage import Storage
from .dicom_header import HEADER_BYTES, Header, NotDicomError, read_header

_FILES_AT_ONCE: Final = 32
# Pause after each batch, as a multiple of the time it took: headers are read for a third of the time at most, unless a
# restore waits for them.
_PAUSE_FACTOR: Final = 2.0
# How soon a file that was just deleted shows up in the list. The interval doubles while nothing is deleted. A request
# for the list starts the next look at once.
_MIN_LOOK_INTERVAL_S: Final = 1.0
_MAX_LOOK_INTERVAL_S: Final = 60.0
# Enough for nearly every header up to the identifiers; only the others are read further.
_USUAL_HEADER_BYTES: Final = 32 * 1024
_TIDY_INTERVAL_S: Final = 60.0
# Instances recorded for the list of deleted studies. Beyond that only a restore reads more. About 150 MB.
MAX_INSTANCES: Final = 500_000


class HeaderReader:
    """Reads headers in order of pending_id, and forgets those of studies of which nothing waits. For one thread.

    Args:
        ledger: Where pending deletions are listed, and headers recorded.
        storage: Where the files are.
    """

    def __init__(self, ledger: Ledger, storage: Storage) -> None:
        self._ledger = ledger
        self._studies = ledger.deleted_studies
        self._storage = storage
        self._read_until = 0
        self._tidy_at = 0.0
        self._tidy_wanted = True
        self._full = False
        self._interval_s = _MIN_LOOK_INTERVAL_S

    def begin(self) -> None:
        """Continues where the last process ended. Raises LedgerError."""
        self._read_until = self._studies.read_until()

    def look(self) -> float:
        """Reads a batch of headers if there are new files; returns a pause in seconds. Raises LedgerError."""
        self._tidy()
        if self._full or self._ledger.newest_id <= self._read_until:
            self._interval_s = min(self._interval_s * 2, _MAX_LOOK_INTERVAL_S)
            return self._interval_s
        self._interval_s = _MIN_LOOK_INTERVAL_S
        started = time.monotonic()
        newest_id = self._ledger.newest_id
        more = self._read_batch()
        if not more:
            self._read_until = max(self._read_until, newest_id)  # what is left are no DICOM files
        self._tidy_wanted = True
        return (time.monotonic() - started) * _PAUSE_FACTOR if more else _MIN_LOOK_INTERVAL_S

    def read_towards(self, until_id: int) -> bool:
        """Reads a batch of headers on the way to a pending_id.

        Returns:
            False if all up to it have been read. Raises LedgerError.
        """
        return self._read_until < until_id and self._read_batch()

    def _tidy(self) -> None:
        if self._tidy_wanted and time.monotonic() >= self._tidy_at:
            self._tidy_wanted = self._studies.forget_gone() or self._studies.remembered() > 1
            self._full = self._studies.remembered() >= MAX_INSTANCES
            self._tidy_at = time.monotonic() + _TIDY_INTERVAL_S

    def _read_batch(self) -> bool:
        """Reads some headers; returns whether there were any to read."""
        rows = self._studies.unread(self._read_until, _FILES_AT_ONCE)
        self._studies.remember([self._read_one(*row) for row in rows])
        if rows:
            self._read_until = rows[-1][0]
        return bool(rows)

    def _read_one(self, pending_id: int, attachment_uuid: str) -> tuple[int, str, int, Header | None]:
        try:
            size_bytes = self._storage.size(attachment_uuid) or 0
            header = self._header(attachment_uuid, size_bytes)
        except (StorageError, NotDicomError):
            # Gone, or no DICOM: not on the list, and deleted all the same.
            return pending_id, attachment_uuid, 0, None
        return pending_id, attachment_uuid, size_bytes, header

    def _header(self, attachment_uuid: str, size_bytes: int) -> Header:
        """Reads as little as possible: whole files would be most of the disk's work while a large study drains."""
        try:
            return read_header(self._storage.head(attachment_uuid, _USUAL_HEADER_BYTES)[0])
        except NotDicomError:
            if size_bytes <= _USUAL_HEADER_BYTES:
                raise
            return read_header(self._storage.head(attachment_uuid, HEADER_BYTES)[0])
