"""Predicts which missing header copies Orthanc's next start makes again.

It follows the rules of that start's own search, see storage/header_copies.py.
"""

import functools
import math
from pathlib import Path

from ..errors import StorageError
from ..storage.file_storage import FileStorage
from ..storage.header_copies import HeaderCopy, Search, made_from_image
from .comparison import Attachment, Finding, Verdict
from .offline import StoppedIndex


class NextStart:
    """Predicts what the next start of a stopped Orthanc finds and repairs.

    Args:
        storage_root: Orthanc's StorageDirectory.
        index: Its index.
        within_s: How far back that start looks, in seconds before the newest image; None: not at all.
    """

    def __init__(self, storage_root: Path, index: StoppedIndex, within_s: float | None) -> None:
        self._storage = FileStorage(storage_root, sync=False)
        self._index = index
        self._within_s = within_s

    def look_again(self, finding: Finding, attachment: Attachment | None) -> Verdict:
        """TO_REBUILD for a header copy that is missing or torn, and that the start finds and can make again."""
        if attachment is None or finding.kind not in ("missing", "size") or self._oldest_row is None:
            return Verdict.FINDING
        copy = self._index.header_copy(attachment.row)
        found = copy is not None and copy.row >= self._oldest_row and self._written_s(copy) is not None
        return Verdict.TO_REBUILD if found else Verdict.FINDING

    @functools.cached_property
    def _oldest_row(self) -> int | None:
        """The last row that the search compares; None if there is no search.

        No set of copies is kept: memory stays the same however many are missing.
        """
        if self._within_s is None:
            return None
        if math.isinf(self._within_s):
            return 0
        search = Search(self._within_s)
        for copy in self._index.header_copies():
            written_s = self._written_s(copy)
            if written_s is not None and search.ends_with(written_s):
                return copy.row
        return 0

    def _written_s(self, copy: HeaderCopy) -> float | None:
        """When its image was written, in seconds since 1970; None if the copy cannot be made from it."""
        try:
            return made_from_image(self._storage, copy)[1]
        except StorageError:
            return None
