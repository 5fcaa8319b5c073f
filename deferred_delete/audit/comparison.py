"""Compares the files in the storage folder with Orthanc's index and the ledger.

Two sorted streams are merged, so that memory stays the same with ten files and ten million: the files, folder by
folder, and the attachments in order of their UUID. Nothing is changed here.
"""

import enum
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from ..errors import DeferredDeleteError
from ..storage.layout import check_uuid

# A file younger than this may be of an instance that is being stored: written, and not yet in the index.
YOUNG_S: Final = 3600.0
# Findings that a report holds; all of them are counted, and handed to `found`.
MAX_FINDINGS: Final = 1000
_TWO_DIGITS: Final = re.compile(r"[0-9a-fA-F]{2}", re.ASCII)


class AuditError(DeferredDeleteError):
    """An audit cannot be made; the message is one line."""


class OnDisk(NamedTuple):
    """An attachment's file. ``changed_at`` is the newer of its mtime and ctime, in seconds since 1970."""

    attachment_uuid: str
    size_bytes: int
    changed_at: float


class Attachment(NamedTuple):
    """What the index knows of a file: the bytes it has on disk, and where to ask for more.

    That is a ``uri`` of Orthanc's REST API while it runs, and a ``row`` of its index while it is stopped.
    """

    attachment_uuid: str
    size_bytes: int
    uri: str = ""
    row: int = 0


class Finding(msgspec.Struct, frozen=True):
    """One thing that does not fit.

    Kinds: "orphan" (a file nobody knows), "missing" (an attachment without its file), "size" (their sizes differ),
    "alive and pending" (the index knows an attachment that the ledger would delete).
    """

    kind: str
    attachment_uuid: str
    disk_bytes: int | None
    index_bytes: int | None


class Verdict(enum.Enum):
    """What a second look says of a finding."""

    FINDING = enum.auto()
    FITS = enum.auto()  # the world has gone on
    IN_MEMORY = enum.auto()  # a header copy that Orthanc holds, and writes in a moment
    TO_REBUILD = enum.auto()  # a header copy that Orthanc's next start makes again


class Report(msgspec.Struct, kw_only=True):
    """What an audit found; `findings` are the first of them, the counts are of all.

    Header copies whose file is missing or torn are no findings while Orthanc holds them in memory, or if its next
    start makes them again.
    """

    files: int = 0
    attachments: int = 0
    waiting_files: int = 0
    young_files: int = 0
    foreign_entries: int = 0
    header_copies_in_memory: int = 0
    header_copies_to_rebuild: int = 0
    orphans: int = 0
    orphan_bytes: int = 0
    missing: int = 0
    wrong_sizes: int = 0
    alive_and_pending: int = 0
    findings: list[Finding] = []

    @property
    def clean(self) -> bool:
        """Whether everything fits."""
        return not (self.orphans or self.missing or self.wrong_sizes or self.alive_and_pending)


class Walk:
    """The files of a storage folder, in order of their UUID.

    Folders are read one at a time, never through a symbolic link.

    Args:
        root: Orthanc's StorageDirectory.
        progress: Called after each folder with how much of the walk is done, from 0 to 1.

    Attributes:
        foreign: Entries inside the layout's folders that are no attachments. They are counted and left alone.
    """

    def __init__(self, root: Path, progress: Callable[[float], None] = lambda _: None) -> None:
        self._root = root
        self._progress = progress
        self.foreign = 0

    def __iter__(self) -> Iterator[OnDisk]:
        """Walks. Raises AuditError."""
        try:
            tops = self._folders(self._root, count=False)
            for number, top in enumerate(tops):
                for inner in self._folders(self._root / top):
                    yield from self._files(top, inner)
                self._progress((number + 1) / len(tops))
        except OSError as error:
            raise AuditError(f"cannot read {error.filename}: {error.strerror}: expected a readable storage") from error

    def _folders(self, parent: Path, *, count: bool = True) -> list[str]:
        names = []
        for name, status in _entries(parent):
            if stat.S_ISDIR(status.st_mode) and _TWO_DIGITS.fullmatch(name):
                names.append(name)
            else:
                self.foreign += count  # beside the folders of the root stand the index and the ledger
        return names

    def _files(self, top: str, inner: str) -> Iterator[OnDisk]:
        for name, status in _entries(self._root / top / inner):
            if not stat.S_ISREG(status.st_mode) or not name.startswith(top + inner) or not _is_uuid(name):
                self.foreign += 1
                continue
            yield OnDisk(name, status.st_size, max(status.st_mtime, status.st_ctime))


def _entries(folder: Path) -> list[tuple[str, os.stat_result]]:
    """A folder's entries in order; what vanishes while one looks was not there."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return []
    listed = []
    for entry in sorted(found, key=lambda each: each.name):
        try:
            listed.append((entry.name, entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            continue
    return listed


def _is_uuid(name: str) -> bool:
    try:
        check_uuid(name)
    except DeferredDeleteError:
        return False
    return True


def compare(
    walk: Walk,
    known: Iterable[Attachment],
    *,
    waits: Callable[[str], bool],
    look_again: Callable[[Finding, Attachment | None], Verdict] = lambda _finding, _attachment: Verdict.FINDING,
    found: Callable[[Finding], None] = lambda _: None,
    alive_may_wait: bool = False,
    young_s: float = YOUNG_S,
    now: Callable[[], float] = time.time,
) -> Report:
    """Merges both streams and reports what does not fit.

    Args:
        walk: The files.
        known: The attachments of Orthanc's index, in order of their UUID.
        waits: Whether the ledger has a pending deletion of an attachment.
        look_again: Looks a second time, before a finding is reported.
        found: Handed each finding.
        alive_may_wait: Do not report attachments that both index and ledger know: Orthanc runs, and may have removed
            them since.
        young_s: A file changed within so many seconds before the audit began, or during it, is no orphan.
        now: Seconds since 1970.

    Raises:
        AuditError: Something could not be read.
    """
    report = Report()
    young_since = now() - young_s

    def tell(kind: str, disk: OnDisk | None, attachment: Attachment | None) -> bool:
        uuid = disk.attachment_uuid if disk else attachment.attachment_uuid if attachment else ""
        finding = Finding(kind, uuid, disk.size_bytes if disk else None, attachment.size_bytes if attachment else None)
        verdict = look_again(finding, attachment)
        report.header_copies_in_memory += verdict is Verdict.IN_MEMORY
        report.header_copies_to_rebuild += verdict is Verdict.TO_REBUILD
        if verdict is not Verdict.FINDING:
            return False
        if len(report.findings) < MAX_FINDINGS:
            report.findings.append(finding)
        found(finding)
        return True

    for disk, attachment in _merged(iter(walk), iter(known)):
        report.files += disk is not None
        report.attachments += attachment is not None
        if disk is None:
            report.missing += tell("missing", disk, attachment)
        elif attachment is None:
            if waits(disk.attachment_uuid):
                report.waiting_files += 1
            elif disk.changed_at > young_since:
                report.young_files += 1
            elif tell("orphan", disk, attachment):
                report.orphans += 1
                report.orphan_bytes += disk.size_bytes
        else:
            if disk.size_bytes != attachment.size_bytes:
                report.wrong_sizes += tell("size", disk, attachment)
            if not alive_may_wait and waits(disk.attachment_uuid):
                report.alive_and_pending += tell("alive and pending", disk, attachment)
    report.foreign_entries = walk.foreign
    return report


def _merged(files: Iterator[OnDisk], known: Iterator[Attachment]) -> Iterator[tuple[OnDisk | None, Attachment | None]]:
    """Pairs what has the same UUID; both come in ascending order."""
    disk, attachment = next(files, None), next(known, None)
    while disk is not None or attachment is not None:
        if attachment is None or (disk is not None and disk.attachment_uuid < attachment.attachment_uuid):
            yield disk, None
            disk = next(files, None)
        elif disk is None or attachment.attachment_uuid < disk.attachment_uuid:
            yield None, attachment
            attachment = next(known, None)
        else:
            yield disk, attachment
            disk, attachment = next(files, None), next(known, None)
