"""What Orthanc's folders look like, and the few system calls on a single file."""

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ..errors import StorageError

# Orthanc's Toolbox::IsUuid takes any 36 letters and digits with dashes at 8, 13, 18 and 23, but Orthanc only ever makes
# hexadecimal ones (uuid_unparse: lower case on Linux, upper case on macOS, whence archives move). No dot and no slash
# gets through.
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)

# A folder of the layout is opened as a folder, never through a symbolic link: whoever may write in the storage folder
# must not be able to point a deletion at a file outside it.
FOLDER: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def check_uuid(attachment_uuid: str) -> str:
    """Returns the UUID, or refuses it: nothing else ever becomes part of a path.

    Raises:
        StorageError: It is not 8-4-4-4-12 hexadecimal digits.
    """
    if not isinstance(attachment_uuid, str) or _UUID.fullmatch(attachment_uuid) is None:
        raise StorageError(
            f"not an attachment UUID: {attachment_uuid!r:.80}; expected 8-4-4-4-12 hexadecimal digits", errno.EINVAL
        )
    return attachment_uuid


@contextlib.contextmanager
def opened_folder(name: str, parent: int | None = None) -> Iterator[int]:
    """A descriptor of a folder, which stays that folder whatever is done to its path meanwhile. Raises OSError."""
    descriptor = os.open(name, FOLDER, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Writes everything: one write is cut at 2 GiB, by a signal, or by a disk that is nearly full. Raises OSError."""
    written = os.write(descriptor, content)
    if written == len(content):
        return
    rest = memoryview(content)[written:]
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def read_all(descriptor: int) -> bytes:
    """Reads a regular file to its end; one read is cut at 2 GiB. Raises OSError."""
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    # One byte more than the length: when as much comes as was expected, that was the end, and nothing was copied.
    parts = [os.read(descriptor, status.st_size + 1)]
    while parts[-1] and sum(map(len, parts)) != status.st_size:
        parts.append(os.read(descriptor, status.st_size + 1))
    return parts[0] if len(parts) == 1 else b"".join(parts)


def sync(path: Path) -> None:
    """Syncs a file, or a folder's entries. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
