"""What operators see of restores: counts, and a message in words."""

import json
from collections.abc import Sequence

import msgspec

from .restore_rows import Restore
from .study_states import RestoreState, under_way


class RestoreProgress(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator sees of one restore. Times are seconds since 1970.

    ``outcomes`` counts files. ``details`` has up to 100 files that are not back: SOP Instance UID, outcome, reason.
    """

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


def restore_progress(
    restore: Restore, held: dict[str, int], details: Sequence[tuple[str, str, str]]
) -> RestoreProgress:
    """Describes one restore.

    Args:
        restore: Its row.
        held: How many files it holds, by outcome; "" for those without one.
        details: SOP Instance UID, outcome ("" without one) and reason of files that are not back.
    """
    ended = restore.state not in under_way(RestoreState)
    outcomes: dict[str, int] = json.loads(restore.outcomes) if ended else dict(held)
    if without_outcome := outcomes.pop("", 0):
        outcomes["unanswered" if restore.state == RestoreState.INCOMPLETE else "waiting"] = without_outcome
    files_held = sum(held.values())
    return RestoreProgress(
        study_instance_uid=restore.study_instance_uid,
        state=restore.state,
        requested_at=restore.requested_at / 1000,
        ended_at=restore.ended_at / 1000 if restore.ended_at else None,
        outcomes=outcomes,
        instances_gone=restore.instances_gone,
        files_held=files_held,
        error=restore.last_error,
        message=_message(restore, outcomes, files_held),
        details=[(sop_instance_uid, outcome or "unanswered", reason) for sop_instance_uid, outcome, reason in details],
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
