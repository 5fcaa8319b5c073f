"""The journal and the ledger as one: what Orthanc asked to remove and what may still be on disk."""

import threading
import time
from collections.abc import Callable
from typing import Final

from .errors import DeferredDeleteError
from .journal.journal import Journal, count_since
from .journal.record import Record
from .ledger.ledger import Ledger
from .ledger.place import journal_folder
from .ledger.rows import Counts
from .settings import Durability

# Records moved in one transaction: about 10 ms.
MOVE_AT_ONCE: Final = 1000


class Intake:
    """Takes Orthanc's requests into the journal and moves them into the ledger. Safe to use from any thread.

    Args:
        ledger: Where the requests go in the end.
        grace_ms: The time from a request to the first attempt, in ms.
        durability: "process": a request survives SIGKILL. "power": a power cut, at a sync each.

    Attributes:
        ledger: The same.
        lost: Requests that the journal could not take; their files are left to an audit.

    Raises:
        JournalError: The journal cannot be made.
    """

    def __init__(self, ledger: Ledger, grace_ms: int = 0, durability: Durability = "process") -> None:
        self.ledger = ledger
        self.lost = 0
        self._grace_ms = grace_ms
        self._journal = Journal(
            journal_folder(ledger.path),
            ledger.identity,
            ledger.journal_position,
            spares=ledger.empty_segments,
            sync=durability == "power",
        )
        self._move_lock = threading.Lock()
        self._moved = ledger.journal_position
        # While the ledger takes nothing: records before this one were carried out, but for those that failed.
        self._tried = self._moved
        self._failed: list[Record] = []

    def add(self, attachment_uuid: str, content_type: int) -> None:
        """Takes a request. Orthanc holds the lock of its index meanwhile: no system call, and a few microseconds.

        Raises:
            JournalError: There is no room for it, see Journal.append.
            OSError: It is recorded, but with "power" it could not be synced.
            struct.error: The content type is no 32-bit number.
        """
        self._journal.append(attachment_uuid, content_type, self.ledger.clock.now_ms(), self._grace_ms)

    @property
    def waiting(self) -> int:
        """How many requests are in the journal only. Costs no query."""
        return count_since(self._journal.segments, max(self._moved, self._tried)) + len(self._failed)

    def counts(self) -> Counts:
        """Rows of the ledger by state, with what is in the journal as pending. Raises LedgerError."""
        # In this order, so that what is moved meanwhile is not left out, nor what is in a segment removed meanwhile.
        tried, failed, segments = self._tried, len(self._failed), self._journal.segments
        counts, moved = self.ledger.counts_and_position()
        in_journal = count_since(segments, max(moved, tried)) + failed
        return counts._replace(pending=counts.pending + in_journal)

    def oldest(self) -> int | None:
        """When the oldest request was made (ms since 1970); None without any. Raises LedgerError."""
        in_journal, _ = self._journal.read(self._moved, 1)
        oldest = self.ledger.oldest()
        return in_journal[0].requested_at_ms if oldest is None and in_journal else oldest

    def waits(self, attachment_uuid: str) -> bool:
        """Whether the deletion of an attachment is requested, held by a restore or not. Raises LedgerError."""
        # The journal first: what is moved between the two questions is found by the second.
        return self._journal.holds(attachment_uuid, self._moved) or self.ledger.restores.waits(attachment_uuid)

    def move(self) -> bool:
        """Moves some requests into the ledger; returns whether more are waiting.

        Raises:
            LedgerError: Nothing was moved.
        """
        with self._move_lock:
            records, position = self._journal.read(self._moved, MOVE_AT_ONCE)
            if position == self._moved:
                return False
            left = [each for each in records if each.sequence >= self._tried]
            failed = [each for each in self._failed if each.sequence < position]
            self.ledger.record(failed + left, position)
            self._failed = self._failed[len(failed) :]
            self._moved, self._tried = position, max(position, self._tried)
            return position < self._journal.end

    def move_all(self) -> None:
        """Moves everything into the ledger that was added until now. Raises LedgerError."""
        until = self._journal.end
        while self._moved < until:
            self.move()

    def carry_out(self, delete: Callable[[str], object], may_go_on: Callable[[], bool], limit: int) -> int:
        """Carries out requests that are due, while the ledger takes none: else a full disk would never be freed.

        What fails is recorded when the ledger takes it.

        Args:
            delete: Deletes an attachment's file. Raises DeferredDeleteError if it could not.
            may_go_on: Asked before each file.
            limit: How many requests at most.

        Returns:
            How many files were deleted.
        """
        records, position = self._journal.read(self._tried, limit)
        now_ms = self.ledger.clock.now_ms()
        deleted, failed = 0, []
        for record in records:
            if record.due_at_ms > now_ms or not may_go_on():
                position = record.sequence
                break
            try:
                delete(record.attachment_uuid)  # without a lock: on a dead disk this does not return
                deleted += 1
            except DeferredDeleteError:
                failed.append(record)
        with self._move_lock:
            # What was moved meanwhile is a row already; where its file is gone, that is a completed deletion.
            self._failed += [each for each in failed if each.sequence >= self._moved]
            self._tried = max(position, self._tried)
        return deleted

    def tidy(self) -> None:
        """Keeps the journal ready: makes segments ahead, and removes those of which the ledger has everything.

        Raises:
            LedgerError: The ledger could not be synced, so that nothing was removed.
            JournalError: A segment could not be made or removed.
        """
        try:
            before, moved = self._journal.retirable_before, self._moved
            if before and before <= moved:
                self.ledger.sync()
                self._journal.retire(moved)  # what another thread has moved since is not synced
        finally:
            self._journal.prepare()

    def close(self, timeout_s: float) -> bool:
        """Moves what is left and leaves empty segments. What is added later waits there for the next start.

        Returns:
            False if that takes longer than ``timeout_s`` seconds; the rest is left for the next start.

        Raises:
            LedgerError: The ledger does not take it, so the next start has to.
            JournalError: Old segments stay; the next start removes them.
        """
        until, give_up = self._journal.end, time.monotonic() + timeout_s
        while self._moved < until:
            if time.monotonic() > give_up:
                return False
            self.move()
        moved = self._moved
        self.ledger.sync()
        self._journal.start_over(moved)
        return True
