"""One instance as the log tells of it."""

from .. import stages


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
        """Divide writing from committing: at "Created attachment" where there is one, else at the first line of the index."""
        written_us = self.written_us if self.written_us is not None else self.index_us
        if written_us is None:
            return [(stages.STORE, stored_us - writing_us)]
        return [(stages.WRITE, written_us - writing_us), (stages.COMMIT, stored_us - written_us)]

    def _split_unwritten(self, stage: str, since_us: int, stored_us: int) -> list[tuple[str, int]]:
        if self.index_us is None:
            return [(stage, stored_us - since_us)]
        return [(stage, self.index_us - since_us), (stages.COMMIT, stored_us - self.index_us)]
