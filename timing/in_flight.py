"""One instance between the callback that received it and the end of its index transaction."""

from collections.abc import Mapping
from enum import IntEnum, auto
from typing import Final

_OUTCOME_LENGTH: Final = 64


class State(IntEnum):
    """How far an instance has come. An IntEnum, because the tables below are asked several times for each instance."""

    NEW = auto()
    """The callback was entered; or, where no arrival was seen, the first write is about to be noted."""
    TRANSCODED = auto()
    """The callback was left."""
    WRITING = auto()
    """The storage area is writing an attachment."""
    WRITTEN = auto()
    """The storage area has written at least one attachment, and is not writing."""
    DUPLICATE = auto()
    """The archive had it already: Orthanc takes its new attachments away again."""


# From which state to which, by event. A state that is missing means that the event came out of order.
AFTER_TRANSCODING: Final = {State.NEW: State.TRANSCODED}
AFTER_WRITE_STARTED: Final = {
    State.NEW: State.WRITING,
    State.TRANSCODED: State.WRITING,
    State.WRITTEN: State.WRITING,
}
AFTER_WRITE_ENDED: Final = {State.WRITING: State.WRITTEN}
AFTER_REMOVAL: Final = {State.WRITTEN: State.DUPLICATE}

_FIRST: Final = State.NEW


class InFlight:
    """The events seen so far of the instance that one thread is storing.

    Times are in nanoseconds of one monotonic clock. Methods for events return False where the event is out of order.
    """

    __slots__ = (
        "association",
        "attachments",
        "client",
        "first_write_ns",
        "outcome",
        "protocol",
        "queued_ns",
        "received_ns",
        "receiving_ns",
        "response_ns",
        "since_ns",
        "size_bytes",
        "state",
        "steps",
        "sync_ns",
        "transcoded_ns",
        "verify_ns",
        "waited_ns",
        "writing_ns",
        "written_bytes",
    )

    def __init__(self, protocol: str, size_bytes: int, now_ns: int, *, arrival_seen: bool) -> None:
        self.protocol = protocol
        self.size_bytes = size_bytes
        self.state = _FIRST
        self.since_ns = now_ns  # when it came into its state
        self.received_ns = now_ns if arrival_seen else None
        self.association: int | None = None
        self.client = ""
        self.response_ns: int | None = None
        self.waited_ns: int | None = None
        self.receiving_ns: int | None = None
        self.queued_ns: int | None = None
        self.steps: Mapping[str, int] | None = None
        self.transcoded_ns: int | None = None
        self.first_write_ns = 0  # from WRITING on
        self.writing_ns = 0
        self.sync_ns: int | None = 0  # None: unknown
        self.verify_ns = 0
        self.written_bytes = 0
        self.outcome = ""
        self.attachments: list[str] = []

    def end_transcoding(self, now_ns: int, outcome: str, steps: Mapping[str, int] | None) -> bool:
        """Note that the callback is about to be left; out of order, this changes nothing."""
        after = AFTER_TRANSCODING.get(self.state)
        if after is None:
            return False
        self.state = after
        self.since_ns = self.transcoded_ns = now_ns
        self.outcome = outcome[:_OUTCOME_LENGTH]
        self.steps = steps
        return True

    def begin_write(self, now_ns: int, size_bytes: int, attachment_uuid: str) -> bool:
        """Note that an attachment is about to be written; out of order, the write before it counts as lost."""
        after = AFTER_WRITE_STARTED.get(self.state)
        if after is not None:
            self.state = after
        self.since_ns = now_ns
        if not self.attachments:
            self.first_write_ns = now_ns
        self.attachments.append(attachment_uuid)
        self.written_bytes += size_bytes
        return after is not None

    def end_write(self, now_ns: int, sync_ns: int | None, verify_ns: int) -> bool:
        """Note that the write under way has ended; out of order, this changes nothing.

        Args:
            now_ns: when it ended.
            sync_ns: how much of it was waiting for the disk; None where that is not known.
            verify_ns: how much of it was waiting for the proof of the transcoded pixels.
        """
        after = AFTER_WRITE_ENDED.get(self.state)
        if after is None:
            return False
        self.state = after
        self.writing_ns += now_ns - self.since_ns
        self.since_ns = now_ns
        self.verify_ns += verify_ns
        self.sync_ns = None if sync_ns is None or self.sync_ns is None else self.sync_ns + sync_ns
        return True

    def remove(self, attachment_uuid: str) -> None:
        """Note that an attachment is removed: one of its own means that it is a duplicate."""
        if attachment_uuid in self.attachments:
            self.state = AFTER_REMOVAL.get(self.state, self.state)
