"""The states of background deletions and of restores, and every way from one to another; drawn in docs/design.md.

The statements that change a state take their from-states from here, so that a change that is not listed changes no row.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class DeletionState(StrEnum):
    """Of a background deletion of a patient, study or series."""

    # Waits for its turn, when its list of instances is made.
    QUEUED = "queued"
    # The list is whole, and goes instance by instance.
    RUNNING = "running"
    # Nothing of the list is left to do.
    DONE = "done"
    # Orthanc has no such resource.
    UNKNOWN = "unknown"
    # Called off by an operator; what is deleted stays deleted.
    CANCELLED = "cancelled"
    # Orthanc answered with errors for too long; may be queued again.
    FAILED = "failed"


class RestoreState(StrEnum):
    """Of a study that is brought back."""

    # Its files are looked for, and nothing is unlinked meanwhile.
    GATHERING = "gathering"
    # Its files are held, and go to Orthanc one by one.
    IMPORTING = "importing"
    # Every instance is proven to be back.
    DONE = "done"
    # Some are not. Their files stay held until an operator asks again or releases them.
    INCOMPLETE = "incomplete"
    # Called off by an operator; its files wait for their deletion again.
    CANCELLED = "cancelled"


WAYS: Final[dict[DeletionState | RestoreState, frozenset[DeletionState | RestoreState]]] = {
    DeletionState.QUEUED: frozenset(
        {DeletionState.RUNNING, DeletionState.UNKNOWN, DeletionState.CANCELLED, DeletionState.FAILED}
    ),
    DeletionState.RUNNING: frozenset({DeletionState.DONE, DeletionState.CANCELLED, DeletionState.FAILED}),
    RestoreState.GATHERING: frozenset({RestoreState.IMPORTING, RestoreState.CANCELLED}),
    RestoreState.IMPORTING: frozenset({RestoreState.DONE, RestoreState.INCOMPLETE, RestoreState.CANCELLED}),
}


def before(state: DeletionState | RestoreState) -> list[str]:
    """The states from which a state can be reached."""
    return [str(origin) for origin, ends in WAYS.items() if state in ends]


def under_way(kind: type[DeletionState] | type[RestoreState]) -> list[str]:
    """The states that are no end."""
    return [str(state) for state in kind if state in WAYS]


def listed(states: Iterable[str]) -> str:
    """States as SQL's IN wants them."""
    return f"({', '.join(repr(str(state)) for state in states)})"
