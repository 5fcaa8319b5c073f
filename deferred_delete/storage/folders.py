"""The two levels of folders above each attachment, ``root/aa/bb``: opened, made, and removed once they are empty."""

import contextlib
import errno
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from support.rate_limited_log import RateLimitedLog

from .layout import FOLDER, opened_folder

_log = logging.getLogger(__name__)

# What an rmdir says of a folder that is in use, or gone already (EEXIST: some file systems' ENOTEMPTY).
_IN_USE: Final = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT)


class Folders:
    """The folders below one root. UUIDs are checked by the caller. Every method may raise OSError.

    Paths are strings, and system calls those of ``os``: building a Path costs too much here.

    Args:
        root: Orthanc's StorageDirectory.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.fspath(root)
        self._log_limit = RateLimitedLog()

    @property
    def has_root(self) -> bool:
        """Whether the root is there at all."""
        return os.path.isdir(self._root)  # noqa: PTH112

    def check_root(self) -> None:
        """Raises OSError if the root is missing."""
        os.stat(self._root)  # noqa: PTH116

    @contextlib.contextmanager
    def opened(self, attachment_uuid: str) -> Iterator[tuple[int, int]]:
        """Descriptors of ``aa`` and ``aa/bb``, neither opened through a symbolic link.

        What is done relative to them happens where they really are.
        """
        with (
            opened_folder(f"{self._root}/{attachment_uuid[:2]}") as parent,
            opened_folder(attachment_uuid[2:4], parent) as folder,
        ):
            yield parent, folder

    def open_in(self, attachment_uuid: str, flags: int) -> int:
        """Opens the attachment's file itself, as ``os.open`` does.

        Each image passes here, and Python's code is no longer in the processor's caches when the next one comes: what
        is not executed counts. Hence no context managers.
        """
        parent = os.open(f"{self._root}/{attachment_uuid[:2]}", FOLDER)
        try:
            folder = os.open(attachment_uuid[2:4], FOLDER, dir_fd=parent)
        finally:
            os.close(parent)
        try:
            return os.open(attachment_uuid, flags, 0o666, dir_fd=folder)
        finally:
            os.close(folder)

    def make(self, attachment_uuid: str) -> None:
        """Makes ``aa/bb``. Never the root: a root that is missing now is a disk that went away."""
        top = f"{self._root}/{attachment_uuid[:2]}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(top)  # noqa: PTH102
        # ENOENT here is a race lost to an rmdir of the parent: the caller comes back. EEXIST is one won by another
        # create.
        with contextlib.suppress(FileNotFoundError, FileExistsError), opened_folder(top) as parent:
            os.mkdir(attachment_uuid[2:4], dir_fd=parent)

    def remove_lower(self, attachment_uuid: str, parent: int) -> None:
        """Removes ``bb`` if it is empty; ``parent`` is the descriptor of ``aa``."""
        self._rmdir(attachment_uuid[2:4], parent)

    def remove_upper(self, attachment_uuid: str) -> None:
        """Removes ``aa`` if it is empty."""
        self._rmdir(f"{self._root}/{attachment_uuid[:2]}")

    def _rmdir(self, name: str, parent: int | None = None) -> None:
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError as error:
            # The file is gone and the deletion complete: a folder that cannot be removed is worth a line, not another
            # attempt.
            if error.errno not in _IN_USE and (more := self._log_limit.allow()) is not None:
                _log.warning("cannot remove the empty folder %s in %s: %s%s", name, self._root, error.strerror, more)
