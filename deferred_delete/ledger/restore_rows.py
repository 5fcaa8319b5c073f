"""The rows of restores: the restore itself, the files it holds, and what became of them."""

from typing import NamedTuple


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


class HeldFile(NamedTuple):
    """A held file that is to be restored."""

    pending_id: int
    attachment_uuid: str
    sop_instance_uid: str


class Verdict(NamedTuple):
    """What became of a held file: the outcome, why it is not back, and Orthanc's identifier if it is."""

    outcome: str
    detail: str | None = None
    instance_id: str | None = None
