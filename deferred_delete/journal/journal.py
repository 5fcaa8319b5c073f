"""Appends requests to a row of segments, and gives them out again in order."""

import mmap
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from zlib import crc32

from ..errors import JournalError
from .record import RECORD_BYTES, Record, decode, encode
from .segment import CAPACITY, Segment, make_segment

# Empty segments made ahead. At the 20,000 removals a second that Orthanc reaches, each lasts 0.8 s.
SPARES: Final = 2


class Journal:
    """Removals that are not in a ledger yet. Any thread may append; one at a time does the rest, in one process.

    Args:
        folder: Where the segments are; made if missing, in a folder that exists.
        identity: The ledger's, 16 bytes.
        first_sequence: No record gets a lower number.
        spares: Empty segments that a former process left, in order, none of a lower number.
        sync: Whether each record is synced before ``append`` returns.

    Attributes:
        segments: Those with records that may not be in a ledger yet.

    Raises:
        JournalError: There is no segment, and none can be made.
    """

    def __init__(
        self, folder: Path, identity: bytes, first_sequence: int, *, spares: Sequence[Segment] = (), sync: bool = False
    ) -> None:
        self._folder = folder
        self._identity = identity
        self._seed = crc32(identity)
        self._sync = sync
        self._lock = threading.Lock()  # of whoever appends, or changes which segment is the last
        self._making = threading.Lock()  # taken after the other: two threads must not make the same segment
        self._spares = deque(spares)
        first = self._spares.popleft() if self._spares else make_segment(folder, first_sequence, identity)
        # Oldest first, the last one takes records. Others read it without a lock: it is replaced as a whole.
        self.segments: tuple[Segment, ...] = (first,)
        self._newest = self._spares[-1] if self._spares else first

    def append(self, attachment_uuid: str, content_type: int, requested_at_ms: int, grace_ms: int) -> None:
        """Writes one record.

        No system call and no waiting, but for two cases: with ``sync`` the record's page is synced, and where no empty
        segment is left, because the worker has been stuck for 49,000 removals, the next one is made here.

        Raises:
            JournalError: There is no room, and the next segment cannot be made.
            OSError: The record is written, but could not be synced.
            struct.error: The content type is no 32-bit number.
        """
        with self._lock:
            segment = self.segments[-1]
            if segment.used == CAPACITY:
                segment = self._begin_next_segment()
            record = Record(segment.end, attachment_uuid, content_type, requested_at_ms, grace_ms)
            start = (segment.used + 1) * RECORD_BYTES
            segment.memory[start : start + RECORD_BYTES] = encode(record, self._seed)
            segment.used += 1
        if self._sync:
            segment.memory.flush(start // mmap.PAGESIZE * mmap.PAGESIZE, mmap.PAGESIZE)

    def _begin_next_segment(self) -> Segment:
        if not self._spares:  # else nothing waits here for the disk, even while the worker makes another
            self._make_spares(1)
        following = self._spares.popleft()
        self.segments = (*self.segments, following)
        return following

    def _make_spares(self, count: int) -> None:
        with self._making:
            while len(self._spares) < count:
                self._newest = make_segment(self._folder, self._newest.first_sequence + CAPACITY, self._identity)
                self._spares.append(self._newest)

    @property
    def end(self) -> int:
        """The sequence number after the last record."""
        return self.segments[-1].end

    def read(self, since: int, limit: int) -> tuple[list[Record], int]:
        """Returns the next records, and the sequence number from which to go on. Both are of one segment.

        Args:
            since: The first sequence number.
            limit: At most so many.
        """
        for segment in self.segments:
            if since < segment.end:
                slots = segment.slots(since, limit)
                after = max(since, segment.first_sequence) + len(slots) // RECORD_BYTES
                return [record for record in decode(slots, self._seed) if record is not None], after
        return [], since

    def holds(self, attachment_uuid: str, since: int) -> bool:
        """Whether a record from a sequence number on names this attachment."""
        name = attachment_uuid.encode("ascii")
        return any(each.holds(name, since) for each in self.segments if since < each.end)

    def prepare(self) -> None:
        """Makes the next segments ahead of need, and leaves one whose file was taken away.

        Raises:
            JournalError: One could not be made, or was taken away.
        """
        try:
            gone = [each for each in (*self._spares, self.segments[-1]) if not each.in_place]
        except OSError as error:
            raise JournalError(f"cannot look at {error.filename}: {error.strerror}; expected its disk") from error
        if gone:
            with self._lock:
                self._spares.clear()
                self._newest = self.segments[-1]
        self._make_spares(SPARES)
        with self._lock:
            if self.segments[-1] in gone:
                self._begin_next_segment()
        if gone:
            raise JournalError(f"{gone[0].path} was taken away: expected nobody else to touch that folder")

    def retire(self, before: int) -> None:
        """Removes segments that are full and whose records are all before a sequence number: a ledger has them.

        Raises:
            JournalError: One cannot be unlinked. The next start removes it.
        """
        while (segment := self._let_go_of_first(before)) is not None:
            try:
                segment.path.unlink(missing_ok=True)
            except OSError as error:
                raise JournalError(f"cannot unlink {segment.path}: {error.strerror}") from error

    def _let_go_of_first(self, before: int) -> Segment | None:
        with self._lock:
            first, *others = self.segments
            if not others or first.end > before:
                return None
            self.segments = tuple(others)
            return first

    @property
    def retirable_before(self) -> int:
        """The sequence number after the oldest full segment; 0 if none is full."""
        segments = self.segments
        return segments[0].end if len(segments) > 1 else 0

    def start_over(self, before: int) -> None:
        """Leaves no record that is before a sequence number in the files, if an empty segment is at hand.

        A ledger has these. What was added since stays for the next start. Raises JournalError.
        """
        with self._lock:
            last = self.segments[-1]
            if self._spares and last.used and last.end <= before:
                self._begin_next_segment()
        self.retire(before)


def count_since(segments: tuple[Segment, ...], since: int) -> int:
    """How many records segments have from a sequence number on."""
    return sum(max(each.end - max(each.first_sequence, since), 0) for each in segments)
