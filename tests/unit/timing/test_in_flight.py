from collections.abc import Callable

import pytest

from timing.in_flight import InFlight, State

EVENTS: dict[str, Callable[[InFlight], object]] = {
    "transcoded": lambda instance: instance.end_transcoding(1, "", None),
    "write started": lambda instance: instance.begin_write(1, 10, "second"),
    "write ended": lambda instance: instance.end_write(1, 0, 0),
    "own removed": lambda instance: instance.remove("first"),
    "other removed": lambda instance: instance.remove("of another instance"),
}
# What each event makes of each state; everything else leaves the state as it was.
CHANGES = {
    (State.NEW, "transcoded"): State.TRANSCODED,
    (State.NEW, "write started"): State.WRITING,
    (State.TRANSCODED, "write started"): State.WRITING,
    (State.WRITTEN, "write started"): State.WRITING,
    (State.WRITING, "write ended"): State.WRITTEN,
    (State.WRITTEN, "own removed"): State.DUPLICATE,
}


def in_state(state: State) -> InFlight:
    instance = InFlight("http", 1, 0, arrival_seen=True)
    if state >= State.TRANSCODED:
        instance.end_transcoding(0, "", None)
    if state >= State.WRITING:
        instance.begin_write(0, 10, "first")
    if state >= State.WRITTEN:
        instance.end_write(0, 0, 0)
    if state >= State.DUPLICATE:
        instance.remove("first")
    assert instance.state is state
    return instance


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", State)
def test_each_event_changes_each_state_as_the_table_says(state: State, event: str) -> None:
    instance = in_state(state)
    in_order = EVENTS[event](instance)
    assert instance.state is CHANGES.get((state, event), state)
    assert in_order is None or in_order is ((state, event) in CHANGES)
