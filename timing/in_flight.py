"""One instance between the callback that received it and the end of its index transaction."""

from collections.abc import Mapping
from typing import Final

from . import stages

_TRANSCODING_STEPS: Final = {
    step.name: f"{step.stage}.{step.name}" for step in stages.STEPS if step.stage == stages.TRANSCODE
}


class InFlight:
    """The events seen so far of the instance that one thread is storing; times are in nanoseconds of one monotonic clock."""

    __slots__ = (
        "association",
        "attachments",
        "client",
        "duplicate",
        "first_write_ns",
        "last_event_ns",
        "last_write_ns",
        "outcome",
        "protocol",
        "queued_ns",
        "received_ns",
        "receiving_ns",
        "response_ns",
        "size_bytes",
        "steps",
        "sync_ns",
        "transcoded_ns",
        "verify_ns",
        "waited_ns",
        "write_began_ns",
        "writes",
        "writing",
        "writing_ns",
        "written_bytes",
    )

    def __init__(self, protocol: str, size_bytes: int, now_ns: int, *, arrival_seen: bool) -> None:
        self.protocol = protocol
        self.size_bytes = size_bytes
        self.last_event_ns = now_ns
        self.received_ns = now_ns if arrival_seen else None
        self.association: int | None = None
        self.client = ""
        self.response_ns: int | None = None
        self.waited_ns: int | None = None
        self.receiving_ns: int | None = None
        self.queued_ns: int | None = None
        self.steps: Mapping[str, int] | None = None
        self.transcoded_ns: int | None = None
        self.first_write_ns: int | None = None
        self.last_write_ns: int | None = None
        self.write_began_ns = now_ns
        self.writing_ns = 0
        self.sync_ns: int | None = 0
        self.verify_ns = 0
        self.writing = False
        self.writes = 0
        self.written_bytes = 0
        self.outcome = ""
        self.attachments: list[str] = []
        self.duplicate = False

    def begin_write(self, size_bytes: int, now_ns: int, attachment_uuid: str) -> None:
        """Note that the storage area was asked to write `size_bytes` as `attachment_uuid`."""
        self.attachments.append(attachment_uuid)
        self.last_event_ns = self.write_began_ns = now_ns
        self.writing = True
        self.writes += 1
        self.written_bytes += size_bytes
        if self.first_write_ns is None:
            self.first_write_ns = now_ns

    def end_write(self, now_ns: int, sync_ns: int | None, verify_ns: int) -> None:
        """Note that the write under way has ended, and how much of it was waiting for the disk; None where nobody knows."""
        self.last_event_ns = self.last_write_ns = now_ns
        self.writing = False
        self.writing_ns += now_ns - self.write_began_ns
        self.verify_ns += verify_ns
        self.sync_ns = None if sync_ns is None or self.sync_ns is None else self.sync_ns + sync_ns

    def split(self, committed_ns: int) -> list[tuple[str, int]]:
        """Return (stage, nanoseconds) for each stage that is known; their sum is the instance's total by construction.

        Time between two events whose event in between is missing is given to the stage "unknown", never shared out.
        """
        before = (
            (stages.RESPONSE, self.response_ns),
            (stages.WAIT, self.waited_ns),
            (stages.RECEIVE, self.receiving_ns),
            (stages.QUEUE, self.queued_ns),
        )
        parts = [(stage, duration_ns) for stage, duration_ns in before if duration_ns is not None]
        parts.extend(self._split_from_arrival(committed_ns))
        return parts

    def _split_from_arrival(self, committed_ns: int) -> list[tuple[str, int]]:
        written = self.last_write_ns if not self.writing else None
        if self.first_write_ns is None or written is None:
            return self._split_without_writes(committed_ns)
        parts = [(stages.WRITE, written - self.first_write_ns), (stages.COMMIT, committed_ns - written)]
        if self.received_ns is None:
            return parts
        if self.transcoded_ns is None:
            return [(stages.UNKNOWN, self.first_write_ns - self.received_ns), *parts]
        return [
            (stages.TRANSCODE, self.transcoded_ns - self.received_ns),
            (stages.PREPARE, self.first_write_ns - self.transcoded_ns),
            *parts,
        ]

    def _split_without_writes(self, committed_ns: int) -> list[tuple[str, int]]:
        begun_ns = self.received_ns if self.received_ns is not None else self.first_write_ns
        if begun_ns is None:
            return []
        if self.transcoded_ns is None or self.received_ns is None:
            return [(stages.UNKNOWN, committed_ns - begun_ns)]
        # A write that began and never ended leaves the rest unknown; no write at all means the storage area is not
        # ours.
        rest = stages.STORE if self.first_write_ns is None else stages.UNKNOWN
        return [(stages.TRANSCODE, self.transcoded_ns - self.received_ns), (rest, committed_ns - self.transcoded_ns)]

    def split_steps(self, parts: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Return ("stage.step", nanoseconds) for the stages in `parts` whose steps are known; they add up to their stage."""
        steps: list[tuple[str, int]] = []
        for stage, duration_ns in parts:
            if stage == stages.TRANSCODE and self.steps:
                known = [(_TRANSCODING_STEPS[name], step_ns) for name, step_ns in self.steps.items() if step_ns]
                steps += _with_the_rest(known, "transcode.other", duration_ns)
            elif stage == stages.WRITE and self.sync_ns is not None:
                known = [
                    ("write.file", self.writing_ns - self.sync_ns - self.verify_ns),
                    ("write.sync", self.sync_ns),
                ]
                if self.verify_ns:
                    known.append(("write.verify", self.verify_ns))
                steps += _with_the_rest(known, "write.between", duration_ns)
        return steps


def _with_the_rest(known: list[tuple[str, int]], rest: str, whole_ns: int) -> list[tuple[str, int]]:
    """Return the steps and what is left of the whole; nothing where they cannot be right."""
    durations = [step_ns for _, step_ns in known]
    left_ns = whole_ns - sum(durations)
    if left_ns < 0 or (durations and min(durations) < 0):
        return []
    return [*known, (rest, left_ns)]
