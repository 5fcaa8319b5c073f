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
        spares: Empty segments that a former process left, in order.
        sync: Whether each record is synced before ``append`` returns.

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
        self._lock = threading.Lock()
        self._making = threading.Lock()  # taken within the other, never the other way round
        self._spares = deque(each for each in spares if each.first_sequence >= first_sequence)
        self._next_first = self._spares[-1].first_sequence + CAPACITY if self._spares else first_sequence
        self._full: list[Segment] = []  # oldest first
        self._make_spares(1)
        self._active = self._spares.popleft()

    def append(self, attachment_uuid: str, content_type: int, requested_at_ms: int, grace_ms: int) -> None:
        """Writes one record.

        No system call and no waiting, but for two cases: with ``sync`` the record's page is synced, and where no empty
        segment is left, because the worker has been stuck for 16,383 removals, the next one is made here.

        Raises:
            JournalError: There is no room, and the next segment cannot be made.
            struct.error: The content type is no 32-bit number.
        """
        with self._lock:
            segment = self._active
            if segment.used == CAPACITY:
                segment = self._begin_next_segment()
            record = Record(segment.end, attachment_uuid, content_type, requested_at_ms, grace_ms)
            start = (segment.used + 1) * RECORD_BYTES
            segment.memory[start : start + RECORD_BYTES] = encode(record, self._seed)
            segment.used += 1
        if self._sync:
            segment.memory.flush(start // mmap.PAGESIZE * mmap.PAGESIZE, mmap.PAGESIZE)

    def _begin_next_segment(self) -> Segment:
        if not self._spares:
            self._make_spares(1)
        self._full.append(self._active)
        self._active = self._spares.popleft()
        return self._active

    def _make_spares(self, count: int) -> None:
        with self._making:
            while len(self._spares) < count:
                self._spares.append(make_segment(self._folder, self._next_first, self._identity))
                self._next_first += CAPACITY

    def waiting(self, since: int) -> int:
        """How many records there are from a sequence number on."""
        return sum(max(each.end - max(each.first_sequence, since), 0) for each in self._segments())

    def read(self, since: int, limit: int) -> tuple[list[Record], int]:
        """Returns the next records, and the sequence number from which to go on. Both are of one segment.

        Args:
            since: The first sequence number.
            limit: At most so many.
        """
        for segment in self._segments():
            if since < segment.end:
                slots = segment.slots(since, limit)
                after = max(since, segment.first_sequence) + len(slots) // RECORD_BYTES
                return [record for record in decode(slots, self._seed) if record is not None], after
        return [], since

    def holds(self, attachment_uuid: str, since: int) -> bool:
        """Whether a record from a sequence number on names this attachment."""
        name = attachment_uuid.encode("ascii")
        return any(each.holds(name, since) for each in self._segments() if since < each.end)

    def prepare(self) -> None:
        """Makes the next segments ahead of need, and leaves one whose file was taken away.

        Raises:
            JournalError: One could not be made, or was taken away.
        """
        try:
            gone = [each for each in (*self._spares, self._active) if not each.in_place]
        except OSError as error:
            raise JournalError(f"cannot look at {error.filename}: {error.strerror}; expected its disk") from error
        with self._lock:
            for each in gone:
                if each in self._spares:
                    self._spares.remove(each)
        self._make_spares(SPARES)
        with self._lock:
            if self._active in gone:
                self._begin_next_segment()
        if gone:
            raise JournalError(f"{gone[0].path} was taken away: expected nobody else to touch that folder")

    def retire(self, before: int) -> None:
        """Removes segments that are full and whose records are all before a sequence number: a ledger has them.

        Raises:
            JournalError: One cannot be unlinked. The next start removes it.
        """
        while self._full and self._full[0].end <= before:
            segment = self._full.pop(0)
            try:
                segment.path.unlink(missing_ok=True)
            except OSError as error:
                raise JournalError(f"cannot unlink {segment.path}: {error.strerror}") from error

    @property
    def retirable_before(self) -> int:
        """The sequence number after the oldest full segment; 0 if none is full."""
        return self._full[0].end if self._full else 0

    def start_over(self) -> None:
        """Leaves no record in the files, if an empty segment is at hand: a ledger has them all. Raises JournalError."""
        with self._lock:
            if self._active.used and self._spares:
                self._begin_next_segment()
        self.retire(self._active.first_sequence)

    def _segments(self) -> list[Segment]:
        return [*self._full, self._active]
