"""The queue of patients, studies and series to delete in the background; part of the ledger."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from . import study_queries as queries
from .clock import LedgerClock
from .database import Database, encode
from .study_states import DeletionState, before

# Finished deletions are listed for a week, and never more than so many.
KEPT_MS: Final = 7 * 86_400_000
MAX_KEPT: Final = 1000
# Instances recorded in one transaction. An enqueue may have to wait that long.
_ROWS_PER_WRITE: Final = 500


class ResourceDeletion(NamedTuple):
    """One row of resource_deletions, see schema_3.sql; times in ms since 1970."""

    deletion_id: int
    orthanc_id: str
    level: str
    state: str
    instances_total: int
    instances_left: int
    queued_at: int
    started_at: int | None
    ended_at: int | None
    attempts: int
    last_error: str | None
    instances_waiting: int

    @property
    def instances_done(self) -> int:
        """Instances of the list that are gone."""
        return self.instances_total - self.instances_waiting


class StudyProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A background deletion as operators see it. Times are seconds since 1970; ``eta_s`` is None while unknown."""

    id: str
    level: str
    state: str
    instances_total: int
    instances_done: int
    queued_at: float
    started_at: float | None
    ended_at: float | None
    eta_s: float | None
    error: str | None
    message: str


class StudyQueue:
    """Background deletions, in the ledger's database. Safe to use from any thread; every method raises LedgerError.

    Args:
        database: The ledger's.
        clock: The ledger's.
    """

    def __init__(self, database: Database, clock: LedgerClock) -> None:
        self._database = database
        self._clock = clock

    def request(self, orthanc_ids: Sequence[str]) -> int:
        """Queues resources; returns how many were not queued before."""
        return self._database.write("queue studies in", queries.REQUEST, encode(orthanc_ids), self._clock.now_ms())

    def cancel(self, orthanc_id: str) -> bool:
        """Cancels a deletion; False if none is under way. A request already sent to Orthanc is not stopped."""
        return bool(self._database.write("cancel in", queries.CANCEL, orthanc_id, self._clock.now_ms()))

    def is_open(self, orthanc_id: str) -> bool:
        """Whether a resource waits or is being deleted."""
        return bool(self._database.query(queries.OPEN, orthanc_id))

    def wanted_back(self, instance_ids: Sequence[str]) -> str | None:
        """The study of a restore under way that has restored one of these instances; None if there is none."""
        rows = self._database.query(queries.WANTED_BACK, encode(instance_ids))
        return str(rows[0][0]) if rows else None

    def put_off(self, deletion: ResourceDeletion, why: str, delay_ms: int) -> None:
        """Postpones a deletion; this does not count as a failed attempt."""
        at_ms = self._clock.now_ms() + delay_ms
        self._database.write("note in", queries.PUT_OFF, deletion.deletion_id, why, at_ms)

    def listed(self) -> list[ResourceDeletion]:
        """All of them, newest first; finished ones for KEPT_MS."""
        return [ResourceDeletion(*row) for row in self._database.query(queries.LIST, MAX_KEPT)]

    def progress(self) -> list[StudyProgress]:
        """All of them as operators see them."""
        now_ms = self._clock.now_ms()
        return [_progress(each, now_ms) for each in self.listed()]

    def next_one(self) -> ResourceDeletion | None:
        """The one to work on; None if all are done or wait."""
        rows = self._database.query(queries.NEXT, self._clock.now_ms())
        return ResourceDeletion(*rows[0]) if rows else None

    def next_attempt_in_s(self) -> float | None:
        """How long all that is under way has to wait, in seconds; None if nothing is."""
        at_ms = self._database.query(queries.NEXT_ATTEMPT)[0][0]
        return None if at_ms is None else max(0.0, (at_ms - self._clock.now_ms()) / 1000)

    def start(self, deletion: ResourceDeletion, level: str, instance_ids: Sequence[str]) -> None:
        """Records the list of instances to delete, and begins."""
        for begin in range(0, len(instance_ids), _ROWS_PER_WRITE):
            part = encode(instance_ids[begin : begin + _ROWS_PER_WRITE])
            self._database.write("list instances in", queries.ADD_INSTANCES, deletion.deletion_id, part)
        self._database.write("begin in", queries.START, deletion.deletion_id, level, self._clock.now_ms())

    def take_off(self, instance_id: str) -> None:
        """Keeps an instance that a restore has brought back, although a deletion lists it."""
        self._database.write("note in", queries.TAKE_OFF, instance_id)

    def next_instances(self, deletion: ResourceDeletion, limit: int) -> list[tuple[str, int]]:
        """The next instances to delete, each with its number of failed attempts."""
        return [(row[0], row[1]) for row in self._database.query(queries.SLICE, deletion.deletion_id, limit)]

    def remove_instances(self, deletion: ResourceDeletion, instances: Sequence[tuple[str, int]]) -> None:
        """Takes deleted instances off the list. Call it after Orthanc's answer, never before."""
        if instances:
            self._database.write("note in", queries.FORGET_INSTANCES, deletion.deletion_id, encode(instances))
            if deletion.attempts:
                self._database.write("note in", queries.NO_TROUBLE, deletion.deletion_id)

    def trouble(self, deletion: ResourceDeletion, error: str, delay_ms: int, instance: tuple[str, int] | None) -> None:
        """Records an error and when to try again; the instance that failed goes behind the others."""
        if instance is not None:
            self._database.write("note in", queries.SET_BACK, deletion.deletion_id, instance[1], instance[0])
        at_ms = self._clock.now_ms() + delay_ms
        self._database.write("note in", queries.TROUBLE, deletion.deletion_id, error, at_ms)

    def end(
        self, deletion: ResourceDeletion, state: DeletionState, instances_left: int = 0, error: str | None = None
    ) -> None:
        """Ends a deletion unless it was cancelled meanwhile, and forgets those that ended long ago."""
        now_ms, origins = self._clock.now_ms(), encode(before(state))
        self._database.write(
            "end in", queries.END, deletion.deletion_id, str(state), instances_left, now_ms, error, origins
        )
        self._database.write("tidy", queries.FORGET, now_ms - KEPT_MS, MAX_KEPT)
        while self._database.write("tidy", queries.FORGET_LISTS):
            pass


def _progress(deletion: ResourceDeletion, now_ms: int) -> StudyProgress:
    eta_s = None
    if deletion.state == DeletionState.RUNNING and deletion.started_at is not None and deletion.instances_done:
        eta_s = (now_ms - deletion.started_at) / 1000 * deletion.instances_waiting / deletion.instances_done
    return StudyProgress(
        id=deletion.orthanc_id,
        level=deletion.level,
        state=deletion.state,
        instances_total=deletion.instances_total,
        instances_done=deletion.instances_done,
        queued_at=deletion.queued_at / 1000,
        started_at=deletion.started_at / 1000 if deletion.started_at else None,
        ended_at=deletion.ended_at / 1000 if deletion.ended_at else None,
        eta_s=eta_s,
        error=deletion.last_error,
        message=_message(deletion),
    )


def _message(deletion: ResourceDeletion) -> str:
    of = f"{deletion.instances_done} of {deletion.instances_total} instances"
    arrived = deletion.instances_left
    return {
        DeletionState.QUEUED: "waits for its turn",
        DeletionState.RUNNING: f"{of} deleted",
        DeletionState.DONE: f"{of} deleted; {arrived} arrived after the start and stay" if arrived else f"{of} deleted",
        DeletionState.UNKNOWN: "Orthanc has no patient, study or series with this identifier: nothing was deleted",
        DeletionState.CANCELLED: f"cancelled: {of} were deleted and stay deleted; the others stay",
        DeletionState.FAILED: f"given up: {of} were deleted and stay deleted; the others stay: queue it again to go on",
    }[DeletionState(deletion.state)]
