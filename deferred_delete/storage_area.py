"""The storage area: what Orthanc's three callbacks call."""

import logging
from collections.abc import Callable

from support.rate_limited_log import RateLimitedLog

from .circuit_breaker import CircuitBreaker
from .errors import DeferredDeleteError
from .ledger.ledger import Ledger
from .storage.header_copies import can_be_rebuilt
from .storage.layout import check_uuid
from .storage.storage import Storage
from .worker.backlog import Backlog
from .worker.throttle import IngestWatch

_log = logging.getLogger(__name__)


def _ignore(_due_ms: int) -> None:
    """No-op callback."""


class DeferredStorageArea:
    """Files are written and read at once, and removed later.

    Args:
        ledger: Where removals are recorded.
        storage: Where the files are.
        backlog: Takes what can be neither recorded nor unlinked; shared with the worker.
        grace_ms: Time from the request to the first attempt, in ms.
        notify: Called with the time at which a recorded deletion is due (ms since 1970), to wake the worker.
        breaker: Says whether a failing ledger is not used for now.
        ingest: The worker's.

    Attributes:
        ingest: Is told of each store, so that the worker slows down.
        write_header: Takes a header copy's UUID and content, and need not be done when it returns; None: it is written
            and synced like everything else. See header_copies.py.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        backlog: Backlog,
        *,
        grace_ms: int = 0,
        notify: Callable[[int], None] = _ignore,
        breaker: CircuitBreaker | None = None,
        ingest: IngestWatch | None = None,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._backlog = backlog
        self._grace_ms = grace_ms
        self._notify = notify
        self._breaker = breaker or CircuitBreaker()
        self.ingest = ingest or IngestWatch()
        self.write_header: Callable[[str, bytes], None] | None = None
        self._not_recorded = RateLimitedLog()
        self._not_removed = RateLimitedLog()

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
        """Records that an attachment's file may go. Never raises: Orthanc would only log it, and the file be forgotten.

        Orthanc holds its index lock here. If the ledger can not record, the file is unlinked at once, as Orthanc
        without us would have done; if that fails too, it is kept in memory for the worker.
        """
        try:
            if not self._breaker.open:
                check_uuid(attachment_uuid)
                self._notify(self._ledger.enqueue(attachment_uuid, content_type, self._grace_ms))
                return
            reason: Exception | None = None
        except Exception as error:  # noqa: BLE001  never raises
            reason = error
        self._remove_now(attachment_uuid, content_type, reason)

    def _remove_now(self, attachment_uuid: str, content_type: int, reason: Exception | None) -> None:
        try:
            check_uuid(attachment_uuid)
        except DeferredDeleteError as error:
            _log.error("cannot remove: %s", error)
            return
        if reason is not None:
            self._breaker.trip()
            if (more := self._not_recorded.allow()) is not None:
                _log.error("unlinking %s at once instead of later: %s%s", attachment_uuid, reason, more)
        try:
            self._storage.unlink(attachment_uuid)
        except Exception as error:  # noqa: BLE001  never raises
            self._keep(attachment_uuid, content_type, error)

    def _keep(self, attachment_uuid: str, content_type: int, error: Exception) -> None:
        kept = self._backlog.add(attachment_uuid, content_type)
        if not kept:
            _log.error("deletion of %s is forgotten, %d wait already: %s", attachment_uuid, len(self._backlog), error)
        elif (more := self._not_removed.allow()) is not None:
            _log.error("cannot remove %s now, kept in memory: %s%s", attachment_uuid, error, more)
        self._notify(0)
