"""What a process left in its journal: read without mapping, since a file that was cut cannot be mapped safely."""

import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from zlib import crc32

import msgspec

from ..errors import JournalError, LedgerRefusedError
from .record import RECORD_BYTES, Record, decode
from .segment import DRAFT_SUFFIX, SEGMENT_BYTES, SUFFIX, VERSION, Segment, read_header

_log = logging.getLogger(__name__)

_BATCH: Final = 2000


class Leftover(msgspec.Struct, frozen=True):
    """One file: how many records it holds, how many slots are damaged, and what is wrong with the file itself."""

    path: Path
    first_sequence: int  # -1 if its header is damaged
    records: int
    damaged_slots: int
    fault: str

    @property
    def sound(self) -> bool:
        """Whether everything in it could be read."""
        return not (self.fault or self.damaged_slots)


class Leftovers:
    """The segments in a folder, oldest first. Nothing is changed until ``clear``.

    Args:
        folder: The journal's; it need not exist.
        identity: The ledger's, 16 bytes. Segments of another ledger are not read: their attachments may be alive.

    Raises:
        LedgerRefusedError: A segment is of a later version.
        JournalError: The folder cannot be read.
    """

    def __init__(self, folder: Path, identity: bytes) -> None:
        self._folder = folder
        self._identity = identity
        self._foreign: list[Path] = []
        self._files: list[Path] = []
        self._read: list[Leftover] = []
        try:
            for path in sorted(folder.glob(f"*{SUFFIX}")):
                self._sort(path)
        except OSError as error:
            raise _unreadable(folder, error) from error

    def _sort(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                header = read_header(file.read(RECORD_BYTES))
        except FileNotFoundError:
            return  # a running Orthanc had no more need of it
        if header is not None and header.version > VERSION:
            raise LedgerRefusedError(
                f"the segment {path} has version {header.version}: expected {VERSION}; a newer version of this bundle "
                "made it"
            )
        belongs = header is None or header.identity == self._identity
        (self._files if belongs else self._foreign).append(path)

    def records(self, since: int) -> Iterator[list[Record]]:
        """Yields the records from a sequence number on, in batches. Raises JournalError."""
        for path in self._files:
            records = [each for each in self._read_one(path) if each.sequence >= since]
            for start in range(0, len(records), _BATCH):
                yield records[start : start + _BATCH]

    def _read_one(self, path: Path) -> list[Record]:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise _unreadable(path, error) from error
        header, fault = read_header(content), ""
        if len(content) != SEGMENT_BYTES:
            fault = f"{len(content)} bytes long, expected {SEGMENT_BYTES}"
        elif header is None:
            fault = "its header is damaged"
        whole = memoryview(content)[RECORD_BYTES : len(content) // RECORD_BYTES * RECORD_BYTES]
        slots = list(decode(whole, crc32(self._identity)))
        records = [each for each in slots if each is not None]
        first_sequence = -1 if header is None else header.first_sequence
        self._read.append(Leftover(path, first_sequence, len(records), slots.count(None), fault))
        return records

    def clear(self, position: int) -> list[Segment]:
        """Removes what was read, once a ledger has it on disk; returns the empty segments, which can be used.

        What is damaged or of another ledger is kept under another name and logged.

        Args:
            position: The sequence number from which a journal goes on.

        Raises:
            JournalError: A file cannot be removed, renamed or mapped.
        """
        empty = []
        try:
            for path in self._folder.glob(f"*{DRAFT_SUFFIX}"):  # killed while it made one
                path.unlink()
            for path in self._foreign:
                kept = _set_aside(path, ".of-another-ledger")
                _log.error("%s is of another ledger: its deletions are not taken, kept as %s", path, kept.name)
            for each in self._read:
                if not each.sound:
                    kept = _set_aside(each.path, ".damaged")
                    _log.error(
                        "%s is damaged (%s): %d deletions were read, %d could not be, an audit finds their files; "
                        "kept as %s",
                        each.path,
                        each.fault or "records do not fit their checksums",
                        each.records,
                        each.damaged_slots,
                        kept.name,
                    )
                elif each.records or each.first_sequence < position:
                    each.path.unlink()
                else:
                    empty.append(Segment(each.path, each.first_sequence))
        except OSError as error:
            raise _unreadable(error.filename, error) from error
        return empty


def _set_aside(path: Path, suffix: str) -> Path:
    """Renames a file to a name that is free."""
    target = path.with_name(path.name + suffix)
    for number in itertools.count(1):
        if not target.exists():
            break
        target = path.with_name(f"{path.name}.{number}{suffix}")
    path.rename(target)
    return target


def _unreadable(path: object, error: OSError) -> JournalError:
    return JournalError(
        f"cannot read the journal {path}: {error.strerror}; expected a folder Orthanc may read and write"
    )
