"""One file of the journal, mapped into memory: a header and 16,383 records.

What is in the mapping survives the death of the process, because the pages are the kernel's. The file is filled with
zeros and synced before it is used: its blocks are there, and a disk that fills up later refuses no record. (A hole
would: writing to it with the disk full ends the process with SIGBUS.)
"""

import contextlib
import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple
from zlib import crc32

from ..errors import JournalError
from ..storage.layout import sync
from .record import RECORD_BYTES

SEGMENT_BYTES: Final = 1 << 20
CAPACITY: Final = SEGMENT_BYTES // RECORD_BYTES - 1
VERSION: Final = 1
SUFFIX: Final = ".segment"
DRAFT_SUFFIX: Final = ".new"
_MAGIC: Final = b"ODelIntk"
# Magic, version, record's bytes, first sequence number, ledger's identity.
_HEADER: Final = struct.Struct("<8sIIQ16s20x")
_CHECKSUM: Final = struct.Struct("<I")


class Header(NamedTuple):
    """The first 64 bytes of a segment."""

    version: int
    first_sequence: int
    identity: bytes


def read_header(start: bytes) -> Header | None:
    """Returns the header; None if it is damaged, or none of a journal's."""
    body = start[: _HEADER.size]
    if len(start) < RECORD_BYTES or crc32(body) != _CHECKSUM.unpack_from(start, _HEADER.size)[0]:
        return None
    magic, version, _record_bytes, first_sequence, identity = _HEADER.unpack(body)
    return Header(version, first_sequence, identity) if magic == _MAGIC else None


class Segment:
    """A mapped file.

    Args:
        path: A whole segment.
        first_sequence: The sequence number of its first record.

    Attributes:
        memory: The mapping. It is never closed, only let go: another thread may be syncing a page of it.
        used: How many records it holds, set by the journal after it has written one.

    Raises:
        OSError: It cannot be mapped.
    """

    def __init__(self, path: Path, first_sequence: int) -> None:
        self.path = path
        self.first_sequence = first_sequence
        self.used = 0
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            self._inode = os.fstat(descriptor).st_ino
            self.memory = mmap.mmap(descriptor, SEGMENT_BYTES, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        finally:
            os.close(descriptor)
        for page in range(0, SEGMENT_BYTES, mmap.PAGESIZE):
            self.memory[page] = self.memory[page]  # the first write to a page is slow, so it is made here

    @property
    def end(self) -> int:
        """The sequence number after its last record."""
        return self.first_sequence + self.used

    @property
    def in_place(self) -> bool:
        """Whether the file is still where the next start looks for it. Raises OSError if the disk does not answer."""
        try:
            return self.path.stat().st_ino == self._inode
        except FileNotFoundError:
            return False

    def slots(self, since: int, limit: int) -> bytes:
        """The bytes of its records from a sequence number on."""
        first = max(since - self.first_sequence, 0)
        last = min(first + limit, self.used)
        return self.memory[(first + 1) * RECORD_BYTES : (last + 1) * RECORD_BYTES]

    def holds(self, attachment_uuid: bytes, since: int) -> bool:
        """Whether a record from a sequence number on names this attachment."""
        first = max(since - self.first_sequence, 0)
        return self.memory.find(attachment_uuid, (first + 1) * RECORD_BYTES, (self.used + 1) * RECORD_BYTES) >= 0


def segment_path(folder: Path, first_sequence: int) -> Path:
    """Where the segment with this first sequence number is. In order of name is in order of time."""
    return folder / f"{first_sequence:020d}{SUFFIX}"


def make_segment(folder: Path, first_sequence: int, identity: bytes) -> Segment:
    """Makes an empty segment under another name first, so that a crash leaves none that is not whole.

    Raises:
        JournalError: The disk is full or read-only, say. Nothing is left behind.
    """
    path = segment_path(folder, first_sequence)
    draft = path.with_suffix(DRAFT_SUFFIX)
    body = _HEADER.pack(_MAGIC, VERSION, RECORD_BYTES, first_sequence, identity)
    content = (body + _CHECKSUM.pack(crc32(body))).ljust(SEGMENT_BYTES, b"\0")
    try:
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            sync(folder.parent)
        try:
            with draft.open("wb", buffering=0) as file:
                os.posix_fallocate(file.fileno(), 0, SEGMENT_BYTES)
                file.write(content)
                os.fsync(file.fileno())
            draft.rename(path)
        finally:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
        sync(folder)
        return Segment(path, first_sequence)
    except OSError as error:
        raise JournalError(
            f"cannot make the segment {path}: {error.strerror}; expected a folder that Orthanc may write, with room"
        ) from error
