"""Which deleted studies can be brought back, which are being, and which files are held meanwhile; part of the ledger."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from ..studies.dicom_header import Header
from . import restore_queries as queries
from .clock import LedgerClock
from .database import Database, encode
from .study_states import RestoreState, before, under_way

# Outcomes after which the old file may go: Orthanc has the instance, proven; or has a newer version of it; or there is
# no file.
PROVEN: Final = ("restored", "transcoded", "superseded", "gone")
# Rows changed in one transaction: what an enqueue may have to wait for.
_PART: Final = 200
_KEPT_MS: Final = 7 * 86_400_000
_MOST_LISTED: Final = 1000
_DETAILS: Final = 100
_STUDIES_AT_ONCE: Final = 50


class DeletedStudy(msgspec.Struct, frozen=True, kw_only=True):
    """A study of which files wait. Times are seconds since 1970; until ``restorable_until`` nothing of it is due."""

    study_instance_uid: str
    patient_id: str
    patient_name: str
    study_date: str
    study_description: str
    modality: str
    instances: int
    instances_known: int
    bytes: int
    deleted_at: float
    restorable_until: float


class Restore(NamedTuple):
    """One row of restores, see schema_3.sql; times in ms since 1970."""

    restore_id: int
    study_instance_uid: str
    state: str
    requested_at: int
    ended_at: int | None
    instances_gone: int
    outcomes: str
    attempts: int
    next_attempt_at: int
    last_error: str | None


class RestoreProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sees of one restore. ``outcomes`` counts files; ``details`` says of up to 100 why they are not back."""

    study_instance_uid: str
    state: str
    requested_at: float
    ended_at: float | None
    outcomes: dict[str, int]
    instances_gone: int
    files_held: int
    error: str | None
    message: str
    details: list[tuple[str, str, str]]


class Wanted(NamedTuple):
    """A held file that is to be brought back."""

    pending_id: int
    attachment_uuid: str
    sop_instance_uid: str


class Verdict(NamedTuple):
    """What became of a held file: the outcome, why it is not back, and Orthanc's identifier of what is back."""

    outcome: str
    detail: str | None = None
    instance_id: str | None = None


class Restores:
    """Deleted studies and restores, in the ledger's database. Safe to use from any thread; every method raises LedgerError.

    Args:
        database: The ledger's.
        clock: The ledger's.
    """

    def __init__(self, database: Database, clock: LedgerClock) -> None:
        self._database = database
        self._clock = clock

    # What waits

    def unread(self, after_id: int, limit: int) -> list[tuple[int, str]]:
        """DICOM files that wait and whose header was not read: pending_id and attachment UUID, ids ascending."""
        return self._database.query(queries.UNREAD, after_id, limit)

    def read_until(self) -> int:
        """The pending_id up to which headers were read."""
        return int(self._database.query(queries.READ_UNTIL)[0][0])

    def remembered(self) -> int:
        """How many instances are remembered."""
        return int(self._database.query(queries.REMEMBERED)[0][0])

    def remember(self, rows: Sequence[tuple[int, str, int, Header | None]]) -> None:
        """Records what headers said: pending_id, attachment UUID, bytes, and the header, None for a file that has none."""
        flat = [(*row[:3], *(row[3] or (None,) * len(Header._fields))) for row in rows]
        if flat:
            self._database.write("note headers in", queries.REMEMBER, encode(flat))

    def forget_gone(self) -> bool:
        """Forgets a part of what is remembered of studies of which nothing waits; whether there may be more."""
        rows = self._database.query(queries.NAMELESS_GONE, _PART)
        for (study,) in self._database.query(queries.GONE_STUDIES, _STUDIES_AT_ONCE):
            rows += self._database.query(queries.OF_STUDY, study, _PART)
        for begin in range(0, len(rows), _PART):
            self._database.write("tidy", queries.FORGET, encode([row[0] for row in rows[begin : begin + _PART]]))
        return len(rows) >= _PART

    def deleted_studies(self, limit: int = _MOST_LISTED) -> list[DeletedStudy]:
        """What can be brought back, as far as headers were read; what was deleted last comes first."""
        return [
            DeletedStudy(
                study_instance_uid=row[0],
                patient_id=row[1],
                patient_name=row[2],
                study_date=row[3],
                study_description=row[4],
                modality=row[5],
                instances=row[6],
                instances_known=row[7],
                bytes=row[8],
                deleted_at=row[9] / 1000,
                restorable_until=row[10] / 1000,
            )
            for row in self._database.query(queries.DELETED_STUDIES, limit)
        ]

    # Restores

    def request(self, study_instance_uid: str) -> bool:
        """Asks for a study; False if that is under way already."""
        return bool(
            self._database.write("note a restore in", queries.REQUEST, study_instance_uid, self._clock.now_ms())
        )

    def under_way(self) -> list[Restore]:
        """Restores under way, oldest first."""
        return [Restore(*row) for row in self._database.query(queries.OPEN)]

    @property
    def gathering(self) -> bool:
        """Whether files of a study are being looked for: nothing may be unlinked meanwhile."""
        return any(each.state == RestoreState.GATHERING for each in self.under_way())

    def hold(self, restore: Restore) -> bool:
        """Takes every file of the study out of the worker's sight, and begins to import.

        Returns:
            False while the worker has a file of the study in hand; and when the restore was cancelled meanwhile.
        """
        self._database.write("hold files in", queries.ADOPT, restore.restore_id, restore.study_instance_uid)
        while self._database.write(
            "hold files in", queries.HOLD, restore.restore_id, restore.study_instance_uid, _PART
        ):
            pass
        self._database.write("hold files in", queries.SUPERSEDE, restore.restore_id)
        return bool(self._database.write("hold files in", queries.IMPORT, restore.restore_id))

    def to_import(self, restore: Restore, limit: int) -> list[Wanted]:
        """The next files to bring back."""
        return [Wanted(*row) for row in self._database.query(queries.TO_IMPORT, restore.restore_id, limit)]

    def importing(self, restore: Restore) -> bool:
        """Whether a restore is importing still, and was not cancelled meanwhile."""
        return bool(self._database.query(queries.IMPORTING, restore.restore_id))

    def note(self, restore: Restore, wanted: Wanted, verdict: Verdict) -> None:
        """Records what became of one file, unless the restore was cancelled meanwhile."""
        self._database.write("note in", queries.OUTCOME, wanted.pending_id, restore.restore_id, *verdict)
        if restore.attempts:
            self._database.write("note in", queries.NO_TROUBLE, restore.restore_id)

    def trouble(self, restore: Restore, wanted: Wanted, error: str, delay_ms: int) -> None:
        """Notes an error and when to go on; the file that failed goes behind the others."""
        self._database.write("note in", queries.SET_BACK, wanted.pending_id, error)
        self._database.write("note in", queries.TROUBLE, restore.restore_id, error, self._clock.now_ms() + delay_ms)

    def end(self, restore: Restore, gave_up: str | None = None) -> RestoreState:
        """Ends a restore, unless it was cancelled meanwhile, and lets go of what is proven; returns the state it is in."""
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
        self._database.write("tidy", queries.FORGET_RESTORES, now_ms - _KEPT_MS)
        return state if ended else RestoreState.CANCELLED

    def cancel(self, study_instance_uid: str) -> bool:
        """Calls a restore off and gives its files back; False if none is under way."""
        rows = self._database.write_returning("cancel in", queries.CANCEL, study_instance_uid, self._clock.now_ms())
        for (restore_id,) in rows:
            self._not_offered_again(study_instance_uid, restore_id)
        self.give_back()
        return bool(rows)

    def give_back(self) -> None:
        """Lets files go that ended restores have proven or do not want; again after a crash in the middle of it."""
        while self._database.write("give back files in", queries.GIVE_BACK, encode(PROVEN), _PART):
            pass
        while self._database.write("give back files in", queries.GIVE_BACK_CANCELLED, _PART):
            pass

    def _not_offered_again(self, study_instance_uid: str, restore_id: int) -> None:
        self._database.write("tidy", queries.NOT_OFFERED_AGAIN, study_instance_uid, restore_id, encode(PROVEN))

    def release(self, study_instance_uid: str) -> int:
        """An operator's decision that what could not be proven may go after all; returns how many files."""
        released = 0
        while part := self._database.write("give back files in", queries.RELEASE, study_instance_uid, _PART):
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
        """Takes attachments out of any restore's hold."""
        self._database.write("give back files in", queries.GIVE_BACK_ATTACHMENTS, encode(attachment_uuids))

    def progress(self) -> list[RestoreProgress]:
        """All restores as operators see them, the newest first."""
        rows = [Restore(*row) for row in self._database.query(queries.LIST, _MOST_LISTED)]
        return [self._progress(restore) for restore in rows]

    def _outcomes(self, restore: Restore) -> dict[str, int]:
        return {name: count for name, count in self._database.query(queries.OUTCOMES, restore.restore_id)}  # noqa: C416

    def _progress(self, restore: Restore) -> RestoreProgress:
        held = self._outcomes(restore)
        ended = restore.state not in under_way(RestoreState)
        outcomes = json.loads(restore.outcomes) if ended else held
        if unnamed := outcomes.pop("", 0):
            outcomes["unanswered" if restore.state == RestoreState.INCOMPLETE else "waiting"] = unnamed
        return RestoreProgress(
            study_instance_uid=restore.study_instance_uid,
            state=restore.state,
            requested_at=restore.requested_at / 1000,
            ended_at=restore.ended_at / 1000 if restore.ended_at else None,
            outcomes=outcomes,
            instances_gone=restore.instances_gone,
            files_held=sum(held.values()),
            error=restore.last_error,
            message=_message(restore, outcomes, sum(held.values())),
            details=[
                (sop, outcome or "unanswered", detail)
                for sop, outcome, detail in self._database.query(queries.DETAILS, restore.restore_id, _DETAILS)
            ],
        )


def _message(restore: Restore, outcomes: dict[str, int], held: int) -> str:
    if restore.state == RestoreState.GATHERING:
        return "looking for its files among all that wait; nothing is deleted meanwhile"
    back = sum(outcomes.get(name, 0) for name in ("restored", "transcoded"))
    versions = outcomes.get("superseded", 0)
    total = sum(outcomes.values()) - versions + restore.instances_gone
    parts = [f"{back} of {total} instances are back"]
    if changed := outcomes.get("transcoded", 0):
        parts.append(f"{changed} of them transcoded on their way in, with equal images")
    if gone := restore.instances_gone + outcomes.get("gone", 0):
        parts.append(f"{gone} had been unlinked already")
    if versions:
        parts.append(f"{versions} older versions of them are left to be deleted")
    if restore.state == RestoreState.INCOMPLETE and held:
        parts.append(f"{held} files stay held: ask again, or release them")
    if restore.state == RestoreState.CANCELLED:
        parts.append("cancelled: what is back stays, all its files wait for their deletion again")
    return "; ".join(parts)
