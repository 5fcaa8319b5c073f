"""The worker's other tasks: record what could not be recorded, and checkpoint the ledger's log."""

import logging
import math
import time
from typing import Final

from ..errors import DeferredDeleteError, LedgerError
from ..ledger.ledger import Ledger
from ..storage.storage import Storage
from .backlog import Backlog
from .counters import Counters

_log = logging.getLogger(__name__)

# After this long, what the ledger refused is tried again, and so is a checkpoint that was incomplete.
_RETRY_S: Final = 1.0
_NOTHING_TO_DO_S: Final = math.inf


class Upkeep:
    """For the worker's thread alone.

    Args:
        ledger: Where deletions are recorded.
        storage: Where the files are.
        backlog: Deletions that could not be recorded.
        counters: Gets the last error.

    Attributes:
        wakes_for_log: Whether an enqueue must wake the worker when the log has grown.
    """

    def __init__(self, ledger: Ledger, storage: Storage, backlog: Backlog, counters: Counters) -> None:
        self._ledger = ledger
        self._storage = storage
        self._backlog = backlog
        self._counters = counters
        self._backlog_after = self._checkpoint_after = 0.0
        self.wakes_for_log = True

    def do(self) -> float:
        """Does what is due; returns how long to sleep until the next, in seconds. Raises LedgerError."""
        return min(self._settle_backlog(), self._checkpoint())

    def last_try(self) -> None:
        """Before the process ends: logs what can still be neither recorded nor done as orphans."""
        self._backlog.retry(self._record_or_unlink)
        if self._backlog:
            _log.error("%d deletions could be neither recorded nor done; they are orphans now", len(self._backlog))

    def _settle_backlog(self) -> float:
        if not self._backlog:
            return _NOTHING_TO_DO_S
        wait_s = self._backlog_after - time.monotonic()
        if wait_s <= 0:
            self._backlog.retry(self._record_or_unlink)
            wait_s = _RETRY_S
            self._backlog_after = time.monotonic() + wait_s
        return wait_s if self._backlog else _NOTHING_TO_DO_S

    def _record_or_unlink(self, attachment_uuid: str, content_type: int) -> bool:
        try:
            self._ledger.enqueue(attachment_uuid, content_type)
        except LedgerError:
            try:
                self._storage.unlink(attachment_uuid)
            except DeferredDeleteError as error:
                self._counters.last_error = str(error)
                return False
        return True

    def _checkpoint(self) -> float:
        self.wakes_for_log = True  # before the log is checked: an enqueue after that must wake the worker
        wait_s = self._checkpoint_after - time.monotonic()
        if self._ledger.checkpoint_due and wait_s <= 0:
            wait_s = _RETRY_S
            self._checkpoint_after = time.monotonic() + wait_s
            self._ledger.checkpoint()
        if not self._ledger.checkpoint_due:
            return _NOTHING_TO_DO_S
        self.wakes_for_log = False  # checked again after wait_s anyway
        return max(0.0, wait_s)
