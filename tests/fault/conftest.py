"""A disk whose power can be cut."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

# linux/fs.h and fs/ext4/ext4.h: the file system stops at once, and what is in its log only stays there.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


class Ext4Disk:
    """An ext4 file system of its own in a file."""

    def __init__(self, image: Path, folder: Path) -> None:
        self.folder = folder
        self._image = image
        with image.open("wb") as file:
            file.truncate(96 << 20)
        subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
        folder.mkdir()

    def mount(self) -> None:
        """Mounts it; ext4 then replays its log, as after a power cut."""
        command = ["mount", "-o", "loop,nodiscard", str(self._image), str(self.folder)]
        subprocess.run(command, check=True, capture_output=True)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True, capture_output=True)

    def restart(self) -> None:
        """Mounts what had reached the disk before the power was cut."""
        self.unmount()
        # A copy: another mount namespace may have the dead file system still, and would lend it to us again.
        image, self._image = self._image, self._image.with_name(f"{self._image.name} again")
        subprocess.run(["cp", "--sparse=always", str(image), str(self._image)], check=True)
        image.unlink()
        self.mount()

    def write_back(self) -> None:
        """As Linux does about every half minute."""
        self._on_descriptor(lambda descriptor: ctypes.CDLL(None).syncfs(descriptor))

    def cut(self) -> None:
        """From now on nothing reaches the disk, and nothing can be read but what is in memory."""
        argument = struct.pack("=I", _NO_LOG_FLUSH)
        self._on_descriptor(lambda descriptor: fcntl.ioctl(descriptor, _SHUTDOWN, argument))

    def _on_descriptor(self, do: object) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            do(descriptor)  # type: ignore[operator]
        finally:
            os.close(descriptor)


@pytest.fixture
def ext4_disk(tmp_path: Path) -> Iterator[Ext4Disk]:
    """Mounted, and empty."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    try:
        disk = Ext4Disk(tmp_path / "image", tmp_path / "a disk")
        disk.mount()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"there are no loop devices with ext4 here: {error}")
    yield disk
    if os.path.ismount(disk.folder):
        disk.unmount()
