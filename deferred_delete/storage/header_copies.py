"""Header copies ("DICOM until pixel data"): why they need no sync, and how they are rebuilt after a crash.

Orthanc asks a plugin's storage area (SDK version 1) for a second file per image: the first bytes of the image, up to
its pixel data. A sync of its own would cost a store a fifth to a quarter. It holds nothing that the image does not, and
the image is synced before Orthanc's commit; so the copy is written a moment later (write_behind.py) and left to the
system's write-back, and at the next start after a crash the newest copies are compared with their images, before
Orthanc serves anything, and those that are missing or torn are written anew.
"""

import contextlib
import logging
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from dicom.file_meta import has_prefix
from support.rate_limited_log import RateLimitedLog

from ..errors import StorageError
from .storage import Storage

_log = logging.getLogger(__name__)

# Orthanc's content type (FileContentType_DicomUntilPixelData).
HEADER_TYPE: Final = 3
# Linux writes a dirty page back once it is this old, by default 30 s, looked for every 5 s; ext4 commits its journal
# every 5 s.
_EXPIRE: Final = Path("/proc/sys/vm/dirty_expire_centisecs")
_MIN_WINDOW_S: Final = 120.0
# The search ends after so many copies in a row from before the window: clocks jump, and stores overtake one another.
_OLD_IN_A_ROW: Final = 256

# What Orthanc's index knows of header copies (type 3) of images (type 1), both uncompressed. Table of its schema
# version 6, the only one since 2013; the table's own rowid ascends with time. Where there are none, as in an archive of
# native Orthanc's, the search ends after so many rows.
_INDEXED: Final = """
SELECT header.uuid, dicom.uuid, header.uncompressedSize, header.rowid
FROM AttachedFiles AS header JOIN AttachedFiles AS dicom ON dicom.id = header.id AND dicom.fileType = 1
WHERE header.fileType = 3 AND header.compressionType = 1 AND dicom.compressionType = 1
AND header.rowid > (SELECT max(rowid) FROM AttachedFiles) - 1000000
"""
INDEXED_NEWEST_FIRST: Final = _INDEXED + "ORDER BY header.rowid DESC"
INDEXED_AT_ROW: Final = _INDEXED + "AND header.rowid = ?"


class HeaderCopy(NamedTuple):
    """A header copy that Orthanc's index knows, and the image whose first ``size_bytes`` it has to be.

    Newer ones have a higher ``row``.
    """

    header_uuid: str
    dicom_uuid: str
    size_bytes: int
    row: int = 0


class Rebuilt(NamedTuple):
    """How many copies were compared, and how many were rebuilt.

    ``hopeless``: their image could not be read; ``unwritten``: the disk took no file.
    """

    compared: int
    rebuilt: int
    hopeless: int
    unwritten: int


def can_be_rebuilt(content_type: int, content: bytes) -> bool:
    """Whether an attachment is the plain first part of an image: not if Orthanc compressed it (StorageCompression)."""
    return content_type == HEADER_TYPE and has_prefix(content)


def window_s() -> float:
    """How long before a power cut a file was surely on the disk, in seconds."""
    expire_s = 30.0
    with contextlib.suppress(OSError, ValueError):
        expire_s = int(_EXPIRE.read_text("ascii")) / 100
    return max(_MIN_WINDOW_S, 4 * expire_s)


def how_far_back_s(*, unclean: bool, known_missing: bool) -> float | None:
    """How far back a start has to look for torn and missing copies, in seconds before the newest image.

    None: not at all.

    Args:
        unclean: The ledger was not closed properly, or the machine was started since.
        known_missing: A disk refused copies, whenever that was.
    """
    if known_missing:
        return math.inf
    return window_s() if unclean else None


class Search:
    """Knows when a search, newest copy first, has come far enough.

    Args:
        within_s: How far back to look, in seconds before the newest image.
    """

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._newest_s = float("-inf")
        self._old = 0

    def ends_with(self, written_s: float) -> bool:
        """Whether the copy of an image written then (seconds since 1970) is the last one to compare."""
        self._newest_s = max(self._newest_s, written_s)
        self._old = self._old + 1 if written_s < self._newest_s - self._within_s else 0
        return self._old >= _OLD_IN_A_ROW


def made_from_image(storage: Storage, copy: HeaderCopy) -> tuple[bytes, float]:
    """What a copy has to hold, and when its image was written (seconds since 1970).

    Raises:
        StorageError: The image cannot be read, or is too short.
    """
    header, written_s = storage.head(copy.dicom_uuid, copy.size_bytes)
    if len(header) != copy.size_bytes:
        raise StorageError(f"its image {copy.dicom_uuid} ends after {len(header)} bytes; expected {copy.size_bytes}")
    return header, written_s


def rebuild(storage: Storage, copies: Iterable[HeaderCopy], within_s: float) -> Rebuilt:
    """Compares copies with their images and writes anew what differs.

    Args:
        storage: Where the files are.
        copies: Newest first.
        within_s: How far back to look, in seconds before the newest image.
    """
    compared = rebuilt = hopeless = unwritten = 0
    search = Search(within_s)
    log_limit = RateLimitedLog()
    for copy in copies:
        compared += 1
        try:
            header, written_s = made_from_image(storage, copy)
            if _is_torn(storage, copy, header):
                unwritten += 1  # until it is written
                storage.rewrite(copy.header_uuid, header)
                unwritten -= 1
                rebuilt += 1
        except StorageError as error:
            hopeless += 1
            if (more := log_limit.allow()) is not None:
                _log.error("header copy %s can not be checked: %s%s", copy.header_uuid, error, more)
            continue
        if search.ends_with(written_s):
            break
    return Rebuilt(compared, rebuilt, hopeless - unwritten, unwritten)


def _is_torn(storage: Storage, copy: HeaderCopy, header: bytes) -> bool:
    try:
        return storage.head(copy.header_uuid, copy.size_bytes + 1)[0] != header
    except StorageError as error:
        if not storage.has_root:
            raise
        _log.debug("%s", error)
        return True
