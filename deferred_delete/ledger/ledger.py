"""The ledger: the files that Orthanc asked to remove and that may still be on disk."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import StateError
from ..journal.leftovers import Leftovers
from ..journal.record import Record
from ..journal.segment import Segment
from . import journal_facts, queries
from .clock import LedgerClock
from .database import Database, encode
from .deleted_studies import DeletedStudies
from .drain_order import DrainOrder
from .place import journal_folder
from .power_loss import PowerLoss
from .restores import Restores
from .rows import Claim, Counts, FailedRow, Failure
from .study_queue import StudyQueue

_log = logging.getLogger(__name__)


class Ledger:
    """Pending deletions, on disk. Every method may be called from any thread.

    Args:
        path: The ledger's file; made if missing, in a folder that exists.
        busy_timeout_ms: The longest a write waits for another process, in ms.
        wall: Seconds since 1970; read once.

    Attributes:
        clock: The time that rows are stamped with.
        power_loss: Whether the machine went down under the ledger, and which rows are in doubt since.
        studies: Background deletions of studies.
        deleted_studies: Deleted studies that can be restored.
        restores: Restores, and the files they hold.
        order: The order "drain now".
        recovered: Claims of a process that died, given back at open.
        identity: 16 random bytes, which say whose a journal is.
        empty_segments: Segments that the last run left and that can be used.

    Raises:
        LedgerRefusedError: Not a ledger, corrupt, from the future, or open elsewhere. The file is left as it was.
        LedgerError: It could not be made or opened.
        JournalError: What the last run left in the journal can not be read.
    """

    def __init__(self, path: Path, *, busy_timeout_ms: int = 300, wall: Callable[[], float] = time.time) -> None:
        self.path = path
        self._record_lock = threading.Lock()
        self._database = Database(path, busy_timeout_ms / 1000)
        try:
            self._newest_id = self._first(queries.NEWEST_PENDING_ID) or 0
            self.identity = journal_facts.identity(self._database)
            self.power_loss = PowerLoss(self._database)
            self.empty_segments = self._record_leftovers()
            self.clock = LedgerClock(self._newest_enqueued_at(), wall)
            self.studies = StudyQueue(self._database, self.clock)
            self.deleted_studies = DeletedStudies(self._database)
            self.restores = Restores(self._database, self.clock)
            self.order = DrainOrder(self._database)
            self.power_loss.note_start(self._newest_id, self._newest_enqueued_at())
            self.recovered = self.recover()
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

    def enqueue_many(self, rows: Iterable[tuple[str, int]], grace_ms: int = 0) -> int:
        """Records many (attachment_uuid, content_type) in one transaction; returns how many were new.

        A second request for an attachment changes nothing.

        Raises:
            LedgerError: None was recorded.
        """
        now_ms = self.clock.now_ms()
        with self._record_lock:
            numbered = self._numbered([(*row, now_ms, now_ms + grace_ms) for row in rows])
            return self._database.write("record deletions in", queries.ENQUEUE, numbered)

    def record(self, records: Sequence[Record], position: int) -> None:
        """Records what is in the journal before a sequence number, and that this was done, in one transaction.

        Args:
            records: All that are not in the ledger yet.
            position: That sequence number.

        Raises:
            LedgerError: Nothing was recorded.
        """
        with self._record_lock:
            rows = [(each.attachment_uuid, each.content_type, each.requested_at_ms, each.due_at_ms) for each in records]
            self._database.write_together(
                "record deletions in",
                (queries.ENQUEUE, (self._numbered(rows),)),
                (queries.PUT_FACT, (queries.JOURNAL_POSITION, str(position))),
            )

    def _numbered(self, rows: Sequence[tuple[Any, ...]]) -> str:
        first = self._newest_id + 1
        self._newest_id += len(rows)
        return encode([(first + number, *row) for number, row in enumerate(rows)])

    @property
    def journal_position(self) -> int:
        """The sequence number before which all of the journal is in the ledger."""
        return journal_facts.position(self._database)

    def _record_leftovers(self) -> list[Segment]:
        """Records what the last run left in the journal; returns the segments that can be used again."""
        leftovers, recorded = Leftovers(journal_folder(self.path), self.identity), 0
        for records in leftovers.records(self.journal_position):
            if not recorded:
                self.power_loss.note_leftovers()
            recorded += len(records)
            self.record(records, records[-1].sequence + 1)
        if recorded:
            _log.info(
                "%d deletions that the last run left in the journal are in the ledger %s now", recorded, self.path
            )
        self._database.sync()
        return leftovers.clear(self.journal_position)

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
        return self.counts_and_position()[0]

    def counts_and_position(self) -> tuple[Counts, int]:
        """``counts`` and ``journal_position`` of one moment."""
        *counts, position = self._database.query(queries.COUNTS_AND_POSITION)[0]
        return Counts(*counts), int(position or 0)

    def oldest(self) -> int | None:
        """When the oldest request was recorded (ms since 1970); None without any."""
        return self._first(queries.OLDEST)

    def next_due(self) -> int | None:
        """When the next attempt is due (ms since 1970); None without any."""
        return self._first(queries.NEXT_DUE)

    @property
    def newest_id(self) -> int:
        """The newest pending_id; costs no query."""
        with self._record_lock:  # an id is taken before its row is written, under this lock
            return self._newest_id

    @property
    def paused(self) -> bool:
        """Whether an operator paused the worker; survives a restart."""
        return bool(self._database.query(queries.READ_FACT, "paused")[0][0] == "1")

    @paused.setter
    def paused(self, paused: bool) -> None:
        self._database.write("pause or resume", queries.WRITE_FACTS, encode({"paused": str(int(paused))}))

    def sync(self) -> None:
        """Brings everything that is recorded to the disk. Raises LedgerError."""
        self._database.sync()

    def _newest_enqueued_at(self) -> int:
        return self._first(queries.NEWEST_ENQUEUED_AT) or 0

    def _first(self, statement: str) -> int | None:
        rows = self._database.query(statement)
        return rows[0][0] if rows else None
