"""One batch of deletions, from claim to settlement. No thread: the worker and the command line both drive it."""

import logging
import random
from collections.abc import Callable

import msgspec

from .errors import StorageError
from .ledger import Ledger
from .pacing import LogLimit, backoff_ms
from .rows import Claim, Failure
from .settings import Settings
from .storage import FileStorage
from .tally import Outcome, Tally

_log = logging.getLogger(__name__)


class _Batch(msgspec.Struct):
    """How far a batch has come."""

    completed: list[int] = []
    failed: list[Failure] = []
    deleted: int = 0
    freed_bytes: int = 0


def one_line(text: str) -> str:
    """What a row can hold of any message: a storage folder's name need not be UTF-8, and then the row could not be settled."""
    return " ".join(text.encode("utf-8", "backslashreplace").decode().split())[:500]


def _never() -> bool:
    return False


def _no_wait(_seconds: float) -> None:
    """Without a thread there is nobody to be polite to."""


class Drainer:
    """Claims what is due, unlinks it, and only then lets the rows go.

    One drainer to a ledger: what is claimed when a batch begins is known to be left over.

    Args:
        ledger: Where the deletions are.
        storage: Where the files are.
        settings: Batch size, throttle and retries.
        tally: Where to count.
        halted: Asked between two files; True gives the rest of the batch back.
        wait: Waits so many seconds, or less when halted.
        jitter: From 0 up to, not including, 1.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: FileStorage,
        settings: Settings,
        tally: Tally,
        *,
        halted: Callable[[], bool] = _never,
        wait: Callable[[float], object] = _no_wait,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._settings = settings
        self._tally = tally
        self._halted = halted
        self._wait = wait
        self._jitter = jitter
        self._unsettled = False
        self._log_limit = LogLimit()

    def run_once(self, now_ms: int) -> Outcome:
        """Drains one batch of what is due at ``now_ms`` (ms since 1970).

        Raises:
            LedgerError: The ledger would not claim or settle. Nothing is lost: the next call takes the same rows again, and
                unlinking a file twice is harmless, since Orthanc never uses an attachment UUID a second time.
        """
        self.recover()
        self._unsettled = True
        claims = self._ledger.claim(self._settings.batch_size, now_ms)
        batch = self._unlink(claims)
        released = [claim.pending_id for claim in claims[len(batch.completed) + len(batch.failed) :]]
        if claims:
            # The files first, the rows second: a crash in between repeats an unlink, the other order would forget a file.
            self._ledger.settle(batch.completed, batch.failed, released)
        self._unsettled = False
        outcome = Outcome(
            claimed=len(claims),
            deleted=batch.deleted,
            missing=len(batch.completed) - batch.deleted,
            failed=len(batch.failed),
            released=len(released),
            freed_bytes=batch.freed_bytes,
        )
        self._tally.add(outcome)
        return outcome

    def recover(self) -> None:
        """Gives back what a batch that ended in an error still holds; claimed rows are never due. Raises LedgerError."""
        if self._unsettled:
            self._ledger.recover()
            self._unsettled = False

    def _unlink(self, claims: list[Claim]) -> _Batch:
        batch = _Batch()
        throttle_s = self._settings.throttle_delay_ms / 1000
        for claim in claims:
            if self._halted():
                break
            try:
                deleted = self._storage.delete(claim.attachment_uuid)
            except Exception as error:  # noqa: BLE001  whatever it was, this row must be tried again and the others now
                batch.failed.append(self._failure(claim, error))
                continue
            batch.completed.append(claim.pending_id)
            batch.deleted += deleted.existed
            batch.freed_bytes += deleted.size_bytes
            if throttle_s:
                self._wait(throttle_s)
        return batch

    def _failure(self, claim: Claim, error: Exception) -> Failure:
        reason = one_line(str(error) if isinstance(error, StorageError) else repr(error))
        self._tally.last_error = reason
        delay_ms = backoff_ms(claim.attempts + 1, self._settings.retry_min, self._settings.retry_max, self._jitter())
        if (more := self._log_limit.allow()) is not None:
            _log.warning("%s; attempt %d, next in %.1f s%s", reason, claim.attempts + 1, delay_ms / 1000, more)
        return Failure(claim.pending_id, reason, self._ledger.clock.now_ms() + delay_ms)
