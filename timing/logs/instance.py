"""One instance, as far as the log shows it."""

from .. import stages
from .events import Event, Kind


class LoggedInstance:
    """The marks of one instance; times are in microseconds of the log."""

    __slots__ = (
        "begun_us",
        "client",
        "index_us",
        "last_us",
        "orthanc_id",
        "overlapped",
        "process",
        "protocol",
        "study",
        "transcoded_us",
        "transcoding_us",
        "writing_us",
        "written_us",
    )

    def __init__(self, protocol: str, begun_us: int, client: str = "") -> None:
        self.protocol = protocol
        self.client = client
        self.begun_us = self.last_us = begun_us
        self.transcoding_us: int | None = None
        self.transcoded_us: int | None = None
        self.writing_us: int | None = None
        self.written_us: int | None = None
        self.index_us: int | None = None
        self.orthanc_id = ""
        self.study = ""
        self.process = ""
        # Without thread names, the lines of two instances at once cannot be told apart.
        self.overlapped = False

    def mark(self, now_us: int, event: Event) -> bool:
        """Take in one marker line of this instance; returns whether transcoding begins with it."""
        self.last_us = now_us
        begins = False
        match event.kind:
            case Kind.TRANSCODING | Kind.PLUGIN_TRANSCODED if self.transcoding_us is None and self.writing_us is None:
                self.transcoding_us = now_us
                begins = True
            case Kind.TRANSCODED if self.transcoding_us is not None and self.writing_us is None:
                self.transcoded_us = now_us
            case Kind.WRITING if self.writing_us is None and self.index_us is None:
                self.writing_us = now_us
            case Kind.WRITTEN if self.writing_us is not None and self.index_us is None:
                self.written_us = now_us
            case Kind.OVERWRITING | Kind.NEW_INSTANCE | Kind.CHANGE if self.index_us is None:
                self.index_us = now_us
        if event.kind is Kind.NEW_INSTANCE:
            self.orthanc_id = event.value
        elif event.kind is Kind.CHANGE and event.value:
            self.study = event.value
        return begins

    @property
    def is_transcoding(self) -> bool:
        """Whether its last line told that transcoding begins."""
        return self.transcoding_us is not None and self.transcoded_us is None and self.writing_us is None

    def split(self, stored_us: int) -> list[tuple[str, int]]:
        """Return (stage, microseconds); the sum is the time from the first mark to "New instance stored".

        What no line divides is not divided: the same words as for the live stages, and "unknown" for the rest.
        """
        if self.transcoding_us is None:
            if self.writing_us is None:
                return self._split_unwritten(stages.UNKNOWN, self.begun_us, stored_us)
            return [(stages.RECEIVE, self.writing_us - self.begun_us), *self._split_writing(self.writing_us, stored_us)]
        received = (stages.RECEIVE, self.transcoding_us - self.begun_us)
        if self.writing_us is None:
            return [received, *self._split_unwritten(stages.UNKNOWN, self.transcoding_us, stored_us)]
        ready_us = self.transcoded_us if self.transcoded_us is not None else self.writing_us
        parts = [received, (stages.TRANSCODE, ready_us - self.transcoding_us)]
        if self.transcoded_us is not None:
            parts.append((stages.PREPARE, self.writing_us - ready_us))
        return parts + self._split_writing(self.writing_us, stored_us)

    def _split_writing(self, writing_us: int, stored_us: int) -> list[tuple[str, int]]:
        """Divide writing from committing: at "Created attachment" if it is there, else at the index's first line."""
        written_us = self.written_us if self.written_us is not None else self.index_us
        if written_us is None:
            return [(stages.STORE, stored_us - writing_us)]
        return [(stages.WRITE, written_us - writing_us), (stages.COMMIT, stored_us - written_us)]

    def _split_unwritten(self, stage: str, since_us: int, stored_us: int) -> list[tuple[str, int]]:
        if self.index_us is None:
            return [(stage, stored_us - since_us)]
        return [(stage, self.index_us - since_us), (stages.COMMIT, stored_us - self.index_us)]
