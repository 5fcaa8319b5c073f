"""Attachments as files in Orthanc's own layout, ``root/aa/bb/uuid``: create, read, unlink."""

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import StorageError
from .folders import Folders
from .layout import check_uuid, read_all, write_all
from .storage import Deleted

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# O_NONBLOCK: opening a FIFO put in a file's place must not hang the caller. It means nothing for a regular file.
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# Each lost round of create against rmdir needs one more deletion in the very same folder between two system calls.
_CREATE_ROUNDS: Final = 100


class FileStorage:
    """Creates, reads and unlinks attachments as Orthanc's FilesystemStorage does. Safe to use from any thread.

    Args:
        root: Orthanc's StorageDirectory; made if missing, as Orthanc does. It may be a symbolic link; what is below it
            may not.
        sync: Orthanc's SyncStorageArea: each new file is on the disk before ``create`` returns.

    Raises:
        StorageError: The root can not be made.
    """

    def __init__(self, root: Path, *, sync: bool) -> None:
        self.root = root
        self.sync = sync
        self._folders = Folders(root)
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _failure("make the storage folder", root, error, "a folder Orthanc may write") from error

    def path_of(self, attachment_uuid: str) -> Path:
        """Where an attachment's file is, or would be.

        Raises:
            StorageError: Not an attachment UUID.
        """
        check_uuid(attachment_uuid)
        return self.root / attachment_uuid[:2] / attachment_uuid[2:4] / attachment_uuid

    def create(self, attachment_uuid: str, content: bytes, *, sync: bool = True) -> int:
        """Writes a new attachment whole, or leaves nothing behind.

        Args:
            attachment_uuid: Its name.
            content: All of it.
            sync: False for what can be made again after a power cut: then not even a storage that syncs does.

        With ``sync`` the file's data and length are synced, and no folder is: exactly Orthanc's own promise. On ext4,
        XFS and btrfs the sync of a new file commits its name too; syncing the two folders as well made a store 11 %
        slower.

        Returns:
            Nanoseconds spent in syncing.

        Raises:
            StorageError: Bad UUID, the file exists, or it could not be written whole.
        """
        check_uuid(attachment_uuid)
        try:
            descriptor = self._open_new(attachment_uuid)
        except OSError as error:
            raise self._failure("create", attachment_uuid, error, "a new name in a folder Orthanc may write") from error
        try:
            return _write_and_close(descriptor, content, sync=self.sync and sync)
        except BaseException as error:  # MemoryError too
            with contextlib.suppress(StorageError):  # the first error is the one to report
                self.delete(attachment_uuid)
            if not isinstance(error, OSError):
                raise
            raise self._failure("write", attachment_uuid, error, f"room for {len(content)} bytes") from error

    def read(self, attachment_uuid: str) -> bytes:
        """Returns an attachment's bytes, all of them.

        Raises:
            StorageError: Bad UUID, no such file, not a regular file, or it could not be read.
        """
        with self._opened(attachment_uuid) as descriptor:
            return read_all(descriptor)

    def head(self, attachment_uuid: str, size_bytes: int) -> tuple[bytes, float]:
        """Returns an attachment's first bytes, and when it was written (seconds since 1970). Raises as ``read``.

        Args:
            attachment_uuid: Its name.
            size_bytes: How many bytes at most.
        """
        with self._opened(attachment_uuid) as descriptor:
            return os.pread(descriptor, size_bytes, 0), os.fstat(descriptor).st_mtime

    @contextlib.contextmanager
    def _opened(self, attachment_uuid: str) -> Iterator[int]:
        check_uuid(attachment_uuid)
        try:
            with self._folders.opened(attachment_uuid) as (_, folder):
                descriptor = os.open(attachment_uuid, _READ, dir_fd=folder)
            try:
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._failure("read", attachment_uuid, error, "a regular file") from error

    def rewrite(self, attachment_uuid: str, content: bytes) -> None:
        """Writes a file anew that a crash tore or lost, and syncs it. Raises as ``create``."""
        self.delete(attachment_uuid)
        self.create(attachment_uuid, content)

    @property
    def unwritten(self) -> int:
        """How many files are in memory only: none here."""
        return 0

    def holds(self, _attachment_uuid: str) -> bool:
        """Whether a file is in memory only: none is here."""
        return False

    @property
    def has_root(self) -> bool:
        """Whether the storage folder is there at all."""
        return self._folders.has_root

    def size(self, attachment_uuid: str) -> int | None:
        """An attachment's length in bytes; None if there is no file.

        Raises:
            StorageError: Bad UUID, or the folder could not be looked into.
        """
        check_uuid(attachment_uuid)
        try:
            with self._folders.opened(attachment_uuid) as (_, folder):
                return os.stat(attachment_uuid, dir_fd=folder, follow_symlinks=False).st_size
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._failure("look at", attachment_uuid, error, "a regular file") from error

    def delete(self, attachment_uuid: str) -> Deleted:
        """Unlinks an attachment, and its two folders if that leaves them empty. A missing file is a completed deletion.

        A missing root is not: a disk that is not mounted must not complete every deletion there is.

        Raises:
            StorageError: Bad UUID, or the file could not be unlinked and is still there.
        """
        check_uuid(attachment_uuid)
        try:
            deleted = self._delete_in_folders(attachment_uuid)
            self._folders.remove_upper(attachment_uuid)
        except OSError as error:
            expected = "a regular file in a folder Orthanc may write"
            raise self._failure("unlink", attachment_uuid, error, expected) from error
        return deleted

    def _delete_in_folders(self, attachment_uuid: str) -> Deleted:
        try:
            with self._folders.opened(attachment_uuid) as (parent, folder):
                deleted = _unlink(attachment_uuid, folder)
                self._folders.remove_lower(attachment_uuid, parent)
                return deleted
        except FileNotFoundError:  # of a folder
            self._folders.check_root()
            return Deleted(existed=False, size_bytes=0)

    def _open_new(self, attachment_uuid: str) -> int:
        """Opens a new file, making its folders.

        The worker (or a native Orthanc, or another process) removes folders once they are empty, perhaps between our
        mkdir and our open. No lock is needed, within or across processes, because the kernel orders the two: rmdir
        fails once the folder holds our file, and if rmdir was first our open fails with ENOENT (also through a
        descriptor of the removed folder) and we make the folder again.
        """
        for _ in range(_CREATE_ROUNDS):
            try:
                return self._folders.open_in(attachment_uuid, _CREATE)
            except FileNotFoundError:
                self._folders.make(attachment_uuid)
        raise OSError(errno.EAGAIN, f"its folder vanished {_CREATE_ROUNDS} times")

    def _failure(self, action: str, attachment_uuid: str, error: OSError, expected: str) -> StorageError:
        return _failure(f"{action} attachment", self.path_of(attachment_uuid), error, expected)


def _write_and_close(descriptor: int, content: bytes, *, sync: bool) -> int:
    """Returns the nanoseconds spent in syncing."""
    try:
        write_all(descriptor, content)
        if not sync:
            return 0
        began_ns = time.perf_counter_ns()
        os.fdatasync(descriptor)
        return time.perf_counter_ns() - began_ns
    finally:
        os.close(descriptor)  # may raise: NFS reports a full disk here


def _unlink(attachment_uuid: str, folder: int) -> Deleted:
    try:
        size_bytes = os.stat(attachment_uuid, dir_fd=folder, follow_symlinks=False).st_size
        os.unlink(attachment_uuid, dir_fd=folder)
    except FileNotFoundError:  # of the file: its folders may still be there from a crash, so go on to rmdir
        return Deleted(existed=False, size_bytes=0)
    return Deleted(existed=True, size_bytes=size_bytes)


def _failure(action: str, path: Path, error: OSError, expected: str) -> StorageError:
    reason = error.strerror or str(error)
    if error.errno in (errno.ENOTDIR, errno.ELOOP):
        reason += " (or a symbolic link, which is never followed here)"
    return StorageError(f"cannot {action} {path}: {reason}; expected {expected}", error.errno)
