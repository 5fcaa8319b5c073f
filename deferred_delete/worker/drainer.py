"""One batch of deletions, from claim to settlement. It has no thread: the worker and the command line both call it."""

import logging
import random
import time
from collections.abc import Callable

from support.backoff import backoff_ms
from support.one_line import one_line
from support.rate_limited_log import RateLimitedLog

from ..errors import StorageError
from ..ledger.ledger import Ledger
from ..ledger.rows import MAX_REASON_CHARS, Claim, Failure
from ..settings import Settings
from ..storage.storage import Deleted, Storage
from .batch import Batch
from .counters import Counters, Outcome

_log = logging.getLogger(__name__)


def _never() -> bool:
    return False


def _no_throttle(*_: float) -> None:
    """No-op callback: no pauses."""


class Drainer:
    """Claims what is due, unlinks it, and only then completes the rows.

    One drainer to a ledger: rows that are claimed when a batch begins are left from an earlier one.

    Args:
        ledger: Where the deletions are.
        storage: Where the files are.
        settings: Batch size, workers and retries.
        counters: Gets each outcome and the last error.
        halted: Called between two files; True gives the rest of the batch back.
        after_file: Called after each deleted file with its bytes and the seconds it took; by several threads.
        after_batch: Called after each batch with the seconds that the ledger took.
        jitter: From 0 up to, not including, 1.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        settings: Settings,
        counters: Counters,
        *,
        halted: Callable[[], bool] = _never,
        after_file: Callable[[int, float], None] = _no_throttle,
        after_batch: Callable[[float], None] = _no_throttle,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._settings = settings
        self._counters = counters
        self._halted = halted
        self._after_file = after_file
        self._after_batch = after_batch
        # Enough for each worker to have a next file at hand.
        self._batch_size = (
            settings.batch_size if settings.workers == 1 else max(settings.batch_size, 8 * settings.workers)
        )
        self._jitter = jitter
        self._unsettled = False
        self._log_limit = RateLimitedLog()

    def run_once(self, now_ms: int) -> Outcome:
        """Drains one batch of what is due at ``now_ms`` (ms since 1970).

        Raises:
            LedgerError: The ledger would not claim or settle. Nothing is lost: the next call takes the same rows again,
                and unlinking a file twice is harmless, since Orthanc never uses an attachment UUID a second time.
        """
        self.recover()
        self._unsettled = True
        began = time.monotonic()
        claims = self._ledger.claim(self._batch_size, now_ms)
        ledger_s = time.monotonic() - began
        batch = Batch(claims, self._unlink, self._after_file, self._halted)
        if claims:
            batch.run(self._settings.workers)
            # The files first, the rows second: a crash in between repeats an unlink, the other order would forget a
            # file.
            began = time.monotonic()
            self._ledger.settle(batch.completed, batch.failed, batch.released)
            ledger_s += time.monotonic() - began
        self._unsettled = batch.abandoned
        outcome = Outcome(
            claimed=len(claims),
            deleted=batch.deleted,
            missing=len(batch.completed) - batch.deleted,
            failed=len(batch.failed),
            released=len(batch.released),
            freed_bytes=batch.freed_bytes,
        )
        self._counters.add(outcome)
        self._after_batch(ledger_s)
        return outcome

    def recover(self) -> None:
        """Gives back what a batch that ended in an error still holds. Raises LedgerError.

        Claimed rows are never due.
        """
        if self._unsettled:
            self._ledger.recover()
            self._unsettled = False

    def _unlink(self, claim: Claim) -> Deleted | Failure:
        try:
            return self._storage.delete(claim.attachment_uuid)
        except Exception as error:  # noqa: BLE001  whatever it was, this row must be tried again and the others now
            return self._failure(claim, error)

    def _failure(self, claim: Claim, error: Exception) -> Failure:
        # A storage folder's name need not be UTF-8, and a row with such a text could not be settled.
        reason = one_line(str(error) if isinstance(error, StorageError) else repr(error), MAX_REASON_CHARS)
        self._counters.last_error = reason
        delay_ms = backoff_ms(claim.attempts + 1, self._settings.retry_min, self._settings.retry_max, self._jitter())
        if (more := self._log_limit.allow()) is not None:
            _log.warning("%s; attempt %d, next in %.1f s%s", reason, claim.attempts + 1, delay_ms / 1000, more)
        return Failure(claim.pending_id, reason, self._ledger.clock.now_ms() + delay_ms)
