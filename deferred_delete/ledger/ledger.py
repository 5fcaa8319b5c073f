"""The ledger: the files that Orthanc asked to remove and that may still be on disk."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import StateError
from ..settings import Durability
from . import queries
from .clock import LedgerClock
from .database import Database, encode
from .deleted_studies import DeletedStudies
from .drain_order import DrainOrder
from .power_loss import PowerLoss
from .restores import Restores
from .rows import Claim, Counts, FailedRow, Failure
from .study_queue import StudyQueue

_log = logging.getLogger(__name__)


class Ledger:
    """Pending deletions, on disk. Every method may be called from any thread.

    Args:
        path: The ledger's file; made if missing, in a folder that exists.
        durability: "process": what ``enqueue`` recorded survives SIGKILL. "power": it survives a power cut, at a sync
            each.
        busy_timeout_ms: The longest ``enqueue`` waits for another process, in ms.
        wall: Seconds since 1970; read once.

    Attributes:
        clock: The time that rows are stamped with.
        power_loss: Whether the machine went down under the ledger, and which rows are in doubt since.
        studies: Background deletions of studies.
        deleted_studies: Deleted studies that can be restored.
        restores: Restores, and the files they hold.
        order: The order "drain now".
        recovered: Claims of a process that died, given back at open.

    Raises:
        LedgerRefusedError: Not a ledger, corrupt, from the future, or open elsewhere. The file is left as it was.
        LedgerError: It could not be made or opened.
    """

    def __init__(
        self,
        path: Path,
        *,
        durability: Durability = "process",
        busy_timeout_ms: int = 50,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self._database = Database(path, durability, busy_timeout_ms / 1000)
        try:
            self._newest_id = self._first(queries.NEWEST_PENDING_ID) or 0
            self.clock = LedgerClock(self._newest_enqueued_at(), wall)
            self.studies = StudyQueue(self._database, self.clock)
            self.deleted_studies = DeletedStudies(self._database)
            self.restores = Restores(self._database, self.clock)
            self.order = DrainOrder(self._database)
            self.power_loss = PowerLoss(self._database)
            self.power_loss.note_start(self._newest_id, self._newest_enqueued_at())
            self.recovered = self.recover()
            self._database.checkpoint_fully()
        except BaseException:
            self.close(clean=False)  # what the last run left has not been checked yet
            raise
        if self.clock.set_back_by_ms:
            _log.warning(
                "the clock is %d ms behind the ledger %s: counting on from it", self.clock.set_back_by_ms, path
            )

    def close(self, *, clean: bool = True) -> None:
        """Closes the ledger. Harmless when closed already.

        Args:
            clean: False makes the next start check for what a crash would have left.
        """
        self._database.close(clean=clean)

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close(clean=not self.power_loss.unclean)  # only a start of Orthanc checks header copies

    def enqueue(self, attachment_uuid: str, content_type: int, grace_ms: int = 0) -> int:
        """Records that a file may be deleted. Has to be fast: Orthanc holds the lock of its index meanwhile.

        Returns:
            When it is due, in ms since 1970. A second request for an attachment changes nothing.

        Raises:
            LedgerError: It was not recorded (LedgerBusyError, LedgerClosedError, a full disk, ...).
        """
        now_ms = self.clock.now_ms()
        with self._database.intake_lock:
            self._newest_id += 1
            self._database.enqueue((self._newest_id, attachment_uuid, content_type, now_ms, now_ms + grace_ms))
        return now_ms + grace_ms

    def enqueue_many(self, rows: Iterable[tuple[str, int]], grace_ms: int = 0) -> int:
        """Records many (attachment_uuid, content_type) in one transaction; returns how many were new.

        Raises:
            LedgerError: None was recorded.
        """
        now_ms = self.clock.now_ms()
        with self._database.intake_lock:
            first = self._newest_id + 1
            numbered = [(first + n, *row, now_ms, now_ms + grace_ms) for n, row in enumerate(rows)]
            self._newest_id += len(numbered)
        return self._database.write("record deletions in", queries.ENQUEUE_MANY, encode(numbered))

    def claim(self, limit: int, now_ms: int) -> list[Claim]:
        """Takes up to ``limit`` rows that are due at ``now_ms``, the longest due first.

        Raises:
            LedgerError: Nothing was claimed.
        """
        rows = self._database.write_returning("claim deletions in", queries.CLAIM, now_ms, limit)
        claims = [Claim(*row) for row in rows]
        return sorted(claims, key=lambda claim: (claim.next_attempt_at, claim.pending_id))

    def complete(self, pending_ids: Sequence[int]) -> None:
        """Forgets rows whose files are gone. Call it after the unlink, never before. Raises as ``settle``."""
        self.settle(completed=pending_ids)

    def fail(self, pending_id: int, error: str, next_attempt_at: int) -> None:
        """Notes a failed attempt and when (ms since 1970) to try again. Raises as ``settle``."""
        self.settle(failed=[Failure(pending_id, error, next_attempt_at)])

    def release(self, pending_ids: Sequence[int]) -> None:
        """Gives claimed rows back untried. Raises as ``settle``."""
        self.settle(released=pending_ids)

    def settle(
        self, completed: Sequence[int] = (), failed: Sequence[Failure] = (), released: Sequence[int] = ()
    ) -> None:
        """Ends claims, each of the three lists whole or not at all.

        Raises:
            StateError: A row of a list is not claimed; nothing of that list or of those after it was changed.
            LedgerError: The same.
        """
        steps = ((queries.COMPLETE, completed), (queries.FAIL, failed), (queries.RELEASE, released))
        for statement, rows in steps:
            if rows and self._database.write("settle deletions in", statement, encode(rows)) != len(rows):
                raise StateError(f"one of {len(rows)} rows in {self.path} was not claimed: expected all of them to be")

    def recover(self) -> int:
        """Releases all claims that a dead process or a failed batch left; returns how many rows."""
        return self._database.write("recover claims in", queries.RECOVER)

    def hasten(self, now_ms: int, limit: int = 1000) -> int:
        """Makes up to ``limit`` rows due that are not yet; returns how many."""
        return self._database.write("hasten deletions in", queries.HASTEN, now_ms, limit)

    def retry_failed(self, now_ms: int, limit: int = 1000) -> int:
        """Makes up to ``limit`` failed rows due that are not yet; returns how many."""
        return self._database.write("retry deletions in", queries.RETRY_FAILED, now_ms, limit)

    def failures(self, limit: int) -> list[FailedRow]:
        """The oldest rows whose last attempt failed."""
        return [FailedRow(*row) for row in self._database.query(queries.LIST_FAILED, 0, limit)]

    def withdraw(self, attachment_uuids: Sequence[str]) -> int:
        """Deletes the rows of attachments that are alive, held ones too; returns how many. No file is touched."""
        self.restores.give_back_attachments(attachment_uuids)
        return self._database.write("withdraw deletions from", queries.WITHDRAW, encode(attachment_uuids))

    def counts(self) -> Counts:
        """Rows by state; takes no longer with ten million rows than with ten."""
        return Counts(*self._database.query(queries.COUNTS)[0])

    def oldest(self) -> int | None:
        """When the oldest request was recorded (ms since 1970); None without any."""
        return self._first(queries.OLDEST)

    def next_due(self) -> int | None:
        """When the next attempt is due (ms since 1970); None without any."""
        return self._first(queries.NEXT_DUE)

    @property
    def newest_id(self) -> int:
        """The newest pending_id; costs no query."""
        with self._database.intake_lock:  # an id is taken before its row is written, under this lock
            return self._newest_id

    @property
    def paused(self) -> bool:
        """Whether an operator paused the worker; survives a restart."""
        return bool(self._database.query(queries.READ_FACT, "paused")[0][0] == "1")

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._database.write("pause or resume", queries.WRITE_FACTS, encode({"paused": str(int(paused))}))

    @property
    def checkpoint_due(self) -> bool:
        """Whether the log has grown enough for ``checkpoint``."""
        return self._database.checkpoint_due

    def checkpoint(self, *, fully: bool = False) -> None:
        """Copies the log back into the ledger's file; called by the worker. Raises LedgerError."""
        if fully:
            self._database.checkpoint_fully()
        else:
            self._database.checkpoint()

    def _newest_enqueued_at(self) -> int:
        return self._first(queries.NEWEST_ENQUEUED_AT) or 0

    def _first(self, statement: str) -> int | None:
        rows = self._database.query(statement)
        return rows[0][0] if rows else None
