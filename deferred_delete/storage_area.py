"""The storage area: what Orthanc's three callbacks call."""

import logging
from collections.abc import Callable

from support.rate_limited_log import RateLimitedLog

from .intake import Intake
from .storage.header_copies import can_be_rebuilt
from .storage.layout import check_uuid
from .storage.storage import Storage
from .worker.throttle import IngestWatch

_log = logging.getLogger(__name__)


def _ignore() -> None:
    """No-op callback."""


class DeferredStorageArea:
    """Files are written and read at once, and removed later.

    Args:
        intake: Takes removals.
        storage: Where the files are.
        notify: Called after each removal, to wake the worker.
        ingest: The worker's.

    Attributes:
        ingest: Is told of each store, so that the worker slows down.
        write_header: Takes a header copy's UUID and content, and need not be done when it returns; None: it is written
            and synced like everything else. See header_copies.py.
    """

    def __init__(
        self,
        intake: Intake,
        storage: Storage,
        *,
        notify: Callable[[], None] = _ignore,
        ingest: IngestWatch | None = None,
    ) -> None:
        self._intake = intake
        self._storage = storage
        self._notify = notify
        self.ingest = ingest or IngestWatch()
        self.write_header: Callable[[str, bytes], None] | None = None
        self._log_limit = RateLimitedLog()

    def create(self, attachment_uuid: str, content_type: int, content: bytes) -> int:
        """Writes a new attachment; returns the nanoseconds spent in syncing it.

        Raises:
            StorageError: It was not written, and nothing was left behind.
        """
        self.ingest.note()
        sync_ns = 0
        write_header = self.write_header  # once: a stop takes it away
        if write_header is not None and can_be_rebuilt(content_type, content):
            write_header(attachment_uuid, content)
        else:
            sync_ns = self._storage.create(attachment_uuid, content)
        self.ingest.note()
        return sync_ns

    def read(self, attachment_uuid: str, content_type: int) -> bytes:
        """Returns an attachment's bytes.

        Raises:
            StorageError: There is no such file, or it could not be read.
        """
        del content_type
        return self._storage.read(attachment_uuid)

    def remove(self, attachment_uuid: str, content_type: int) -> None:
        """Notes that an attachment's file may go. Never raises: Orthanc would only log it, and the file be forgotten.

        Orthanc holds its index lock here, so this is one record in the intake journal. What the journal cannot take is
        counted and logged; its file is then an orphan for an audit to find.
        """
        try:
            check_uuid(attachment_uuid)
            self._intake.add(attachment_uuid, content_type)
        except OSError as error:
            if (more := self._log_limit.allow()) is not None:
                _log.error("deletion of %s survives a kill, but no power cut: %s%s", attachment_uuid, error, more)
        except Exception as error:  # noqa: BLE001  never raises
            self._intake.lost += 1
            if (more := self._log_limit.allow()) is not None:
                _log.error("deletion of %s is lost, an audit finds its file: %s%s", attachment_uuid, error, more)
        self._notify()
