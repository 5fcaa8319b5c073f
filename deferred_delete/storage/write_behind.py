"""A storage that writes header copies a moment later: in memory until then, and read from there.

A file takes longer to make than a header copy to hold, above all in an archive that is still empty, where each file's
folders are made too. Native Orthanc has one file per image, a storage area of a plugin two. What is only in memory when
the process is killed is made again from the images at the next start, as what a power cut took is: see
header_copies.py. So this is for header copies alone, and only where that is certain.
"""

import time
from collections.abc import Callable
from pathlib import Path

from ..errors import StorageError
from .background_writer import BackgroundWriter
from .file_storage import FileStorage
from .layout import check_uuid
from .storage import Deleted


def _never_busy() -> bool:
    return False


def _ignore(_refused: bool) -> None:
    """No-op callback."""


class WriteBehindStorage:
    """A Storage that can hold files back. Its callers see no difference between a held file and a written one.

    Args:
        files: Where the files are written.
        busy: Whether instances are being stored.
        refused: Called with True when the disk begins to refuse files, and with False once all are written.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self,
        files: FileStorage,
        *,
        busy: Callable[[], bool] = _never_busy,
        refused: Callable[[bool], None] = _ignore,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._files = files
        self._writer = BackgroundWriter(files, busy, refused, monotonic)
        self._held = self._writer.held

    @property
    def root(self) -> Path:
        """Orthanc's StorageDirectory."""
        return self._files.root

    @property
    def has_root(self) -> bool:
        """Whether the storage folder is there at all."""
        return self._files.has_root

    @property
    def unwritten(self) -> int:
        """How many files are in memory only."""
        return len(self._held)

    def holds(self, attachment_uuid: str) -> bool:
        """Whether a file is in memory only."""
        return self._writer.holds(attachment_uuid)

    def start(self) -> None:
        """From now on `create_later` holds files back. Harmless if it does already."""
        self._writer.start()

    def stop(self, timeout_s: float) -> bool:
        """Writes what is held; from now on `create_later` writes at once.

        Returns:
            False if some could not be written. They can be read until the process ends, and not afterwards.
        """
        return self._writer.stop(timeout_s)

    def path_of(self, attachment_uuid: str) -> Path:
        """Where an attachment's file is, or would be. Raises StorageError if it is not an attachment UUID."""
        return self._files.path_of(attachment_uuid)

    def create(self, attachment_uuid: str, content: bytes, *, sync: bool = True) -> int:
        """Writes at once, as FileStorage does."""
        return self._files.create(attachment_uuid, content, sync=sync)

    def create_later(self, attachment_uuid: str, content: bytes) -> None:
        """Takes a new attachment that can be made again after any crash: it is never synced.

        Raises:
            StorageError: Not an attachment UUID; or it was written at once, because too much is held or the disk
                refuses files, and that failed.
        """
        check_uuid(attachment_uuid)
        if not self._writer.hold(attachment_uuid, content):
            self._files.create(attachment_uuid, content, sync=False)

    def rewrite(self, attachment_uuid: str, content: bytes) -> None:
        """As FileStorage's; what cannot be written is held all the same, and written once there is room."""
        try:
            self.delete(attachment_uuid)
            self._files.create(attachment_uuid, content)
        except StorageError:
            self._writer.hold_refused(attachment_uuid, content)
            raise

    def read(self, attachment_uuid: str) -> bytes:
        """As FileStorage's."""
        held = self._held.get(attachment_uuid)
        return self._files.read(attachment_uuid) if held is None else held

    def head(self, attachment_uuid: str, size_bytes: int) -> tuple[bytes, float]:
        """As FileStorage's; what is held counts as written now."""
        held = self._held.get(attachment_uuid)
        return self._files.head(attachment_uuid, size_bytes) if held is None else (held[:size_bytes], time.time())

    def size(self, attachment_uuid: str) -> int | None:
        """As FileStorage's."""
        held = self._held.get(attachment_uuid)
        return self._files.size(attachment_uuid) if held is None else len(held)

    def delete(self, attachment_uuid: str) -> Deleted:
        """As FileStorage's; what is held is never written.

        Raises:
            StorageError: As FileStorage's, or it is being written, which takes too long.
        """
        held = self._writer.withdraw(attachment_uuid)
        deleted = self._files.delete(attachment_uuid)
        return deleted if held is None else Deleted(existed=True, size_bytes=len(held))
