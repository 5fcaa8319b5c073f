"""Moves deletions from the journal into the ledger, and keeps the journal ready."""

import logging
import math
import time
from collections.abc import Callable
from typing import Final

from support.rate_limited_log import RateLimitedLog

from ..errors import DeferredDeleteError, LedgerClosedError
from ..intake import Intake
from ..storage.storage import Storage
from .alarm import Alarm
from .counters import Counters

_log = logging.getLogger(__name__)

# How long deletions gather in the journal. One by one they would cost more, and the worker would take Python's lock
# from the very thread that deletes.
GATHER_S: Final = 0.2
# After this long, what the ledger or the disk refused is tried again.
_RETRY_S: Final = 1.0
# Files deleted at a time while the ledger takes nothing.
_CARRY_OUT_AT_ONCE: Final = 64


class Upkeep:
    """For the worker's thread alone.

    Args:
        intake: The journal and the ledger.
        storage: Where the files are.
        alarm: Told whether new deletions have to wake the worker.
        counters: Gets the last error.
        may_delete: Whether files may be deleted now.
    """

    def __init__(
        self, intake: Intake, storage: Storage, alarm: Alarm, counters: Counters, may_delete: Callable[[], bool]
    ) -> None:
        self._intake = intake
        self._storage = storage
        self._alarm = alarm
        self._counters = counters
        self._may_delete = may_delete
        self._next_at: float | None = 0.0  # at first the journal has to be made ready
        self._log_limit = RateLimitedLog()

    def do(self) -> float:
        """Does what is due; returns how long to sleep until the next, in seconds. Raises LedgerClosedError."""
        self._alarm.wakes_for_deletions = True  # before the journal is read: what is added after that has to wake us
        if self._next_at is None and not self._intake.waiting:
            return math.inf
        self._alarm.wakes_for_deletions = False
        now = time.monotonic()
        if self._next_at is None:
            self._next_at = now + GATHER_S
        if now < self._next_at:
            return self._next_at - now
        return self._move()

    def _move(self) -> float:
        try:
            more = self._intake.move()
        except LedgerClosedError:
            raise
        except DeferredDeleteError as error:
            self._note(error)
            return self._carry_out()
        self._tidy()
        self._next_at = time.monotonic() if more else None
        return 0.0

    def _carry_out(self) -> float:
        """The ledger takes nothing: on a full disk it never would, unless files go."""
        self._tidy()
        deleted = self._intake.carry_out(self._storage.delete, self._may_delete, _CARRY_OUT_AT_ONCE)
        self._counters.deleted += deleted
        self._next_at = time.monotonic() + (0.0 if deleted else _RETRY_S)
        return 0.0 if deleted else _RETRY_S

    def _tidy(self) -> None:
        try:
            self._intake.tidy()
        except LedgerClosedError:
            raise
        except DeferredDeleteError as error:
            self._note(error)

    def _note(self, error: DeferredDeleteError) -> None:
        self._counters.last_error = str(error)
        if (more := self._log_limit.allow()) is not None:
            _log.error("the journal and its ledger: %s%s", error, more)
