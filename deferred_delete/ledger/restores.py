"""Restores of deleted studies, and the files that they hold meanwhile; part of the ledger."""

from collections.abc import Sequence
from typing import Final

from . import restore_queries as queries
from .clock import LedgerClock
from .database import Database, encode
from .restore_progress import RestoreProgress, restore_progress
from .restore_rows import HeldFile, Restore, Verdict
from .study_states import RestoreState, before

# Outcomes after which the old file may go: Orthanc has the instance, proven; or has a newer version of it; or there is
# no file.
PROVEN: Final = ("restored", "transcoded", "superseded", "gone")
# Rows changed in one transaction. An enqueue may have to wait that long.
_ROWS_PER_WRITE: Final = 200
_KEEP_ENDED_MS: Final = 7 * 86_400_000
_MAX_LISTED: Final = 1000
_MAX_DETAILS: Final = 100


class Restores:
    """Restores, in the ledger's database. Safe to use from any thread; every method raises LedgerError.

    Args:
        database: The ledger's.
        clock: The ledger's.
    """

    def __init__(self, database: Database, clock: LedgerClock) -> None:
        self._database = database
        self._clock = clock

    def request(self, study_instance_uid: str) -> bool:
        """Queues a restore of a study; False if one is under way already."""
        return bool(
            self._database.write("note a restore in", queries.REQUEST, study_instance_uid, self._clock.now_ms())
        )

    def under_way(self) -> list[Restore]:
        """Restores under way, oldest first."""
        return [Restore(*row) for row in self._database.query(queries.OPEN)]

    @property
    def gathering(self) -> bool:
        """Whether a restore is looking for its files: nothing may be unlinked meanwhile."""
        return any(each.state == RestoreState.GATHERING for each in self.under_way())

    def hold(self, restore: Restore) -> bool:
        """Moves every file of the study where the worker does not look, and begins to import.

        Returns:
            False while the worker has claimed a file of the study, and when the restore was cancelled meanwhile.
        """
        self._database.write("hold files in", queries.ADOPT, restore.restore_id, restore.study_instance_uid)
        while self._database.write(
            "hold files in", queries.HOLD, restore.restore_id, restore.study_instance_uid, _ROWS_PER_WRITE
        ):
            pass
        self._database.write("hold files in", queries.SUPERSEDE, restore.restore_id)
        return bool(self._database.write("hold files in", queries.IMPORT, restore.restore_id))

    def to_import(self, restore: Restore, limit: int) -> list[HeldFile]:
        """The next files to restore."""
        return [HeldFile(*row) for row in self._database.query(queries.TO_IMPORT, restore.restore_id, limit)]

    def importing(self, restore: Restore) -> bool:
        """Whether a restore is still importing, and was not cancelled meanwhile."""
        return bool(self._database.query(queries.IMPORTING, restore.restore_id))

    def note(self, restore: Restore, file: HeldFile, verdict: Verdict) -> None:
        """Records what became of one file, unless the restore was cancelled meanwhile."""
        self._database.write("note in", queries.OUTCOME, file.pending_id, restore.restore_id, *verdict)
        if restore.attempts:
            self._database.write("note in", queries.NO_TROUBLE, restore.restore_id)

    def trouble(self, restore: Restore, file: HeldFile, error: str, delay_ms: int) -> None:
        """Notes an error and when to go on; the file that failed goes behind the others."""
        self._database.write("note in", queries.SET_BACK, file.pending_id, error)
        self._database.write("note in", queries.TROUBLE, restore.restore_id, error, self._clock.now_ms() + delay_ms)

    def end(self, restore: Restore, gave_up: str | None = None) -> RestoreState:
        """Ends a restore, unless it was cancelled meanwhile, and releases the files that are proven.

        Returns:
            The state it is in now.
        """
        outcomes = self._outcomes(restore)
        gone = restore.instances_gone or outcomes.get("gone", 0)
        whole = outcomes and not gone and set(outcomes) <= set(PROVEN)
        state = RestoreState.DONE if whole else RestoreState.INCOMPLETE
        error = gave_up if outcomes else "nothing of this study waits any more, or it was never deleted here"
        self._not_offered_again(restore.study_instance_uid, restore.restore_id)
        now_ms, origins = self._clock.now_ms(), encode(before(state))
        ended = self._database.write(
            "end in", queries.END, restore.restore_id, str(state), encode(outcomes), now_ms, error, origins
        )
        self.give_back()
        self._database.write("tidy", queries.FORGET_RESTORES, now_ms - _KEEP_ENDED_MS)
        return state if ended else RestoreState.CANCELLED

    def cancel(self, study_instance_uid: str) -> bool:
        """Cancels a restore and gives its files back to the worker; False if none is under way."""
        rows = self._database.write_returning("cancel in", queries.CANCEL, study_instance_uid, self._clock.now_ms())
        for (restore_id,) in rows:
            self._not_offered_again(study_instance_uid, restore_id)
        self.give_back()
        return bool(rows)

    def give_back(self) -> None:
        """Gives files of ended restores back to the worker, if proven or cancelled. Repeated after a crash."""
        while self._database.write("give back files in", queries.GIVE_BACK, encode(PROVEN), _ROWS_PER_WRITE):
            pass
        while self._database.write("give back files in", queries.GIVE_BACK_CANCELLED, _ROWS_PER_WRITE):
            pass

    def _not_offered_again(self, study_instance_uid: str, restore_id: int) -> None:
        self._database.write("tidy", queries.NOT_OFFERED_AGAIN, study_instance_uid, restore_id, encode(PROVEN))

    def release(self, study_instance_uid: str) -> int:
        """Gives files that could not be proven back to the worker, as an operator decided; returns how many."""
        released = 0
        while part := self._database.write("give back files in", queries.RELEASE, study_instance_uid, _ROWS_PER_WRITE):
            released += part
        return released

    def waits(self, attachment_uuid: str) -> bool:
        """Whether the deletion of an attachment is recorded, held or not."""
        return bool(self._database.query(queries.KNOWS, attachment_uuid)[0][0])

    def files_held(self) -> int:
        """How many files restores hold."""
        return int(self._database.query(queries.HELD)[0][0])

    def held_attachments(self) -> list[str]:
        """The attachments that restores hold."""
        return [row[0] for row in self._database.query(queries.HELD_UUIDS)]

    def give_back_attachments(self, attachment_uuids: Sequence[str]) -> None:
        """Gives attachments back to the worker, whatever restore holds them."""
        self._database.write("give back files in", queries.GIVE_BACK_ATTACHMENTS, encode(attachment_uuids))

    def progress(self) -> list[RestoreProgress]:
        """All restores as operators see them, the newest first."""
        restores = [Restore(*row) for row in self._database.query(queries.LIST, _MAX_LISTED)]
        return [restore_progress(each, self._outcomes(each), self._details(each)) for each in restores]

    def _outcomes(self, restore: Restore) -> dict[str, int]:
        return {name: count for name, count in self._database.query(queries.OUTCOMES, restore.restore_id)}  # noqa: C416

    def _details(self, restore: Restore) -> list[tuple[str, str, str]]:
        return self._database.query(queries.DETAILS, restore.restore_id, _MAX_DETAILS)
