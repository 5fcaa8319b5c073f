"""Which deleted studies can be brought back, which are being, and which files are held meanwhile; part of the ledger."""

import json
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from . import restore_queries as queries
from .clock import LedgerClock
from .database import Database, encode
from .header import Header

# Outcomes after which the old file may go: Orthanc has the instance, proven; or has a newer version of it; or there is no file.
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
    """One row of restores, see schema_2.sql; times in ms since 1970."""

    restore_id: int
    study_instance_uid: str
    state: str
    requested_at: int
    ended_at: int | None
    instances_gone: int
    outcomes: str
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


class RestoreBook:
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
        return any(each.state == "gathering" for each in self.under_way())

    def hold(self, restore: Restore) -> None:
        """Takes every file of the study out of the worker's sight, and begins to import."""
        self._database.write("hold files in", queries.ADOPT, restore.restore_id, restore.study_instance_uid)
        while self._database.write(
            "hold files in", queries.HOLD, restore.restore_id, restore.study_instance_uid, _PART
        ):
            pass
        self._database.write("hold files in", queries.SUPERSEDE, restore.restore_id)
        self._database.write("hold files in", queries.IMPORT, restore.restore_id)

    def to_import(self, restore: Restore, limit: int) -> list[Wanted]:
        """The next files to bring back."""
        return [Wanted(*row) for row in self._database.query(queries.TO_IMPORT, restore.restore_id, limit)]

    def note(self, wanted: Wanted, outcome: str, detail: str | None = None) -> None:
        """Records what became of one file."""
        self._database.write("note in", queries.OUTCOME, wanted.pending_id, outcome, detail)

    def trouble(self, restore: Restore, error: str | None) -> None:
        """Notes why a restore does not get on."""
        self._database.write("note in", queries.TROUBLE, restore.restore_id, error)

    def end(self, restore: Restore) -> str:
        """Ends a restore and lets the files go of what is proven; returns its state."""
        outcomes = self._outcomes(restore)
        gone = restore.instances_gone or outcomes.get("gone", 0)
        state = "done" if outcomes and not gone and set(outcomes) <= set(PROVEN) else "incomplete"
        error = None if outcomes else "nothing of this study waits any more, or it was never deleted here"
        proven = encode(PROVEN)
        self._database.write("tidy", queries.NOT_OFFERED_AGAIN, restore.study_instance_uid, restore.restore_id, proven)
        now_ms = self._clock.now_ms()
        self._database.write("end in", queries.END, restore.restore_id, state, encode(outcomes), now_ms, error)
        self.give_back()
        self._database.write("tidy", queries.FORGET_RESTORES, now_ms - _KEPT_MS)
        return state

    def give_back(self) -> None:
        """Lets files go that ended restores have proven; again after a crash in the middle of it."""
        while self._database.write("give back files in", queries.GIVE_BACK, encode(PROVEN), _PART):
            pass

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
        ended = restore.state in ("done", "incomplete")
        outcomes = json.loads(restore.outcomes) if ended else held
        waiting = outcomes.pop("", 0)
        return RestoreProgress(
            study_instance_uid=restore.study_instance_uid,
            state=restore.state,
            requested_at=restore.requested_at / 1000,
            ended_at=restore.ended_at / 1000 if restore.ended_at else None,
            outcomes=outcomes | ({"waiting": waiting} if waiting else {}),
            instances_gone=restore.instances_gone,
            files_held=sum(held.values()),
            error=restore.last_error,
            message=_message(restore, outcomes, waiting, sum(held.values())),
            details=[tuple(row) for row in self._database.query(queries.DETAILS, restore.restore_id, _DETAILS)],
        )


def _message(restore: Restore, outcomes: dict[str, int], waiting: int, held: int) -> str:
    if restore.state == "gathering":
        return "looking for its files among all that wait; nothing is deleted meanwhile"
    back = sum(outcomes.get(name, 0) for name in ("restored", "transcoded"))
    versions = outcomes.get("superseded", 0)
    total = sum(outcomes.values()) + waiting - versions + restore.instances_gone
    parts = [f"{back} of {total} instances are back"]
    if changed := outcomes.get("transcoded", 0):
        parts.append(f"{changed} of them transcoded on their way in, with equal images")
    if gone := restore.instances_gone + outcomes.get("gone", 0):
        parts.append(f"{gone} had been unlinked already")
    if versions:
        parts.append(f"{versions} older versions of them are left to be deleted")
    if restore.state == "incomplete" and held:
        parts.append(f"{held} files stay held: ask again, or release them")
    return "; ".join(parts)
