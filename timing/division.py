"""Divides the time of a stored instance into its stages and their steps."""

from typing import Final

from .in_flight import InFlight, State
from .stages import (
    COMMIT,
    PREPARE,
    QUEUE,
    RECEIVE,
    RESPONSE,
    STEPS,
    STORE,
    TRANSCODE,
    UNKNOWN,
    WAIT,
    WRITE,
)

_TRANSCODING_STEPS: Final = {step.name: f"{step.stage}.{step.name}" for step in STEPS if step.stage == TRANSCODE}


def stages_of(instance: InFlight, committed_ns: int) -> list[tuple[str, int]]:
    """Return (stage, nanoseconds) for each stage that is known; their sum is the instance's total by construction.

    Time between two events whose event in between is missing is given to the stage "unknown", never
    divided among stages.
    """
    parts: list[tuple[str, int]] = []
    if instance.response_ns is not None:
        parts.append((RESPONSE, instance.response_ns))
    if instance.waited_ns is not None:
        parts.append((WAIT, instance.waited_ns))
    if instance.receiving_ns is not None:
        parts.append((RECEIVE, instance.receiving_ns))
    if instance.queued_ns is not None:
        parts.append((QUEUE, instance.queued_ns))
    parts += _from_arrival(instance, committed_ns)
    return parts


def work_of(instance: InFlight, total_ns: int) -> int:
    """Return the nanoseconds of all stages but those of the instance before: its response, and the SCU's pause."""
    return total_ns - (instance.response_ns or 0) - (instance.waited_ns or 0)


def _from_arrival(instance: InFlight, committed_ns: int) -> list[tuple[str, int]]:
    if instance.state is not State.WRITTEN:
        return _without_writes(instance, committed_ns)
    written_ns = instance.since_ns
    parts = [(WRITE, written_ns - instance.first_write_ns), (COMMIT, committed_ns - written_ns)]
    if instance.received_ns is None:
        return parts
    if instance.transcoded_ns is None:
        return [(UNKNOWN, instance.first_write_ns - instance.received_ns), *parts]
    return [
        (TRANSCODE, instance.transcoded_ns - instance.received_ns),
        (PREPARE, instance.first_write_ns - instance.transcoded_ns),
        *parts,
    ]


def _without_writes(instance: InFlight, committed_ns: int) -> list[tuple[str, int]]:
    begun_ns = instance.received_ns if instance.received_ns is not None else instance.first_write_ns
    if instance.transcoded_ns is None or instance.received_ns is None:
        return [(UNKNOWN, committed_ns - begun_ns)]
    # A write that began and never ended leaves the rest unknown; no write at all means the storage area is not ours.
    rest = STORE if instance.state is State.TRANSCODED else UNKNOWN
    return [
        (TRANSCODE, instance.transcoded_ns - instance.received_ns),
        (rest, committed_ns - instance.transcoded_ns),
    ]


def steps_of(instance: InFlight, parts: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return ("stage.step", nanoseconds) where the steps of a stage in `parts` are known; they add up to the stage."""
    steps: list[tuple[str, int]] = []
    for stage, duration_ns in parts:
        if stage == TRANSCODE and instance.steps:
            known = [(_TRANSCODING_STEPS[name], step_ns) for name, step_ns in instance.steps.items() if step_ns]
            steps += _with_the_rest(known, "transcode.other", duration_ns)
        elif stage == WRITE and instance.sync_ns is not None:
            known = [
                ("write.file", instance.writing_ns - instance.sync_ns - instance.verify_ns),
                ("write.sync", instance.sync_ns),
            ]
            if instance.verify_ns:
                known.append(("write.verify", instance.verify_ns))
            steps += _with_the_rest(known, "write.between", duration_ns)
    return steps


def _with_the_rest(known: list[tuple[str, int]], rest: str, whole_ns: int) -> list[tuple[str, int]]:
    """Return the steps and what is left of the whole; nothing where they cannot be right."""
    durations = [step_ns for _, step_ns in known]
    left_ns = whole_ns - sum(durations)
    if left_ns < 0 or (durations and min(durations) < 0):
        return []
    return [*known, (rest, left_ns)]
