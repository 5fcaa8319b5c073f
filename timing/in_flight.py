"""One instance between the callback that received it and the end of its index transaction."""

from . import stages


class InFlight:
    """The events seen so far of the instance that one thread is storing; times are in nanoseconds of one monotonic clock."""

    __slots__ = (
        "attachments",
        "duplicate",
        "first_write_ns",
        "last_event_ns",
        "last_write_ns",
        "outcome",
        "protocol",
        "received_ns",
        "receiving_ns",
        "size_bytes",
        "transcoded_ns",
        "waited_ns",
        "writes",
        "writing",
        "written_bytes",
    )

    def __init__(self, protocol: str, size_bytes: int, now_ns: int, *, arrival_seen: bool) -> None:
        self.protocol = protocol
        self.size_bytes = size_bytes
        self.last_event_ns = now_ns
        self.received_ns = now_ns if arrival_seen else None
        self.waited_ns: int | None = None
        self.receiving_ns: int | None = None
        self.transcoded_ns: int | None = None
        self.first_write_ns: int | None = None
        self.last_write_ns: int | None = None
        self.writing = False
        self.writes = 0
        self.written_bytes = 0
        self.outcome = ""
        self.attachments: list[str] = []
        self.duplicate = False

    def begin_write(self, size_bytes: int, now_ns: int, attachment_uuid: str) -> None:
        """Note that the storage area was asked to write `size_bytes` as `attachment_uuid`."""
        self.attachments.append(attachment_uuid)
        self.last_event_ns = now_ns
        self.writing = True
        self.writes += 1
        self.written_bytes += size_bytes
        if self.first_write_ns is None:
            self.first_write_ns = now_ns

    def end_write(self, now_ns: int) -> None:
        """Note that the write under way has ended."""
        self.last_event_ns = self.last_write_ns = now_ns
        self.writing = False

    def split(self, committed_ns: int) -> list[tuple[str, int]]:
        """Return (stage, nanoseconds) for each stage that is known; their sum is the instance's total by construction.

        Time between two events whose event in between is missing is given to the stage "unknown", never shared out.
        """
        parts: list[tuple[str, int]] = []
        if self.waited_ns is not None:
            parts.append((stages.WAIT, self.waited_ns))
        if self.receiving_ns is not None:
            parts.append((stages.RECEIVE, self.receiving_ns))
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
        # A write that began and never ended leaves the rest unknown; no write at all means the storage area is not ours.
        rest = stages.STORE if self.first_write_ns is None else stages.UNKNOWN
        return [(stages.TRANSCODE, self.transcoded_ns - self.received_ns), (rest, committed_ns - self.transcoded_ns)]
