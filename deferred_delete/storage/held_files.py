"""Files in memory that wait to be written, up to a bound."""

from collections import OrderedDict
from typing import Final, NamedTuple

# Within the time that a stop has, so many files can be written.
_MAX_BYTES: Final = 64 << 20
_MAX_FILES: Final = 4096


class HeldFile(NamedTuple):
    """Its bytes, and since when it is held (seconds since any fixed moment)."""

    content: bytes
    since_s: float


class HeldFiles:
    """Changed under its owner's lock. ``get`` and ``len`` need no lock: no reader waits for a write to the disk.

    So that readers find it at every moment, a file stays in here until it is on the disk, or deleted.
    """

    def __init__(self) -> None:
        self._by_uuid: OrderedDict[str, HeldFile] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._by_uuid)

    def __contains__(self, attachment_uuid: str) -> bool:
        return attachment_uuid in self._by_uuid

    @property
    def half_full(self) -> bool:
        """Whether more than half of the bytes are taken."""
        return self._bytes > _MAX_BYTES // 2

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether a file of that size may be added."""
        return self._bytes + size_bytes <= _MAX_BYTES and len(self) < _MAX_FILES

    def get(self, attachment_uuid: str) -> bytes | None:
        """A file's bytes; None if it is not held."""
        held = self._by_uuid.get(attachment_uuid)
        return None if held is None else held.content

    def first(self) -> tuple[str, HeldFile]:
        """The file to be written next. Raises StopIteration if there is none."""
        return next(iter(self._by_uuid.items()))

    def add(self, attachment_uuid: str, content: bytes, now_s: float) -> None:
        """Adds a file; it is written after those that are held already."""
        self._by_uuid[attachment_uuid] = HeldFile(content, now_s)
        self._bytes += len(content)

    def put_last(self, attachment_uuid: str) -> None:
        """Writes the others first."""
        self._by_uuid.move_to_end(attachment_uuid)

    def remove(self, attachment_uuid: str) -> bytes | None:
        """Takes a file out and returns its bytes; None if it was not held."""
        held = self._by_uuid.pop(attachment_uuid, None)
        if held is None:
            return None
        self._bytes -= len(held.content)
        return held.content
