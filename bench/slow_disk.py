"""Makes a slow disk: an ext4 file system in a file, mounted with `sync`.

Each change waits for the disk below. How slow that is differs between machines, so it is measured (`latencies`).
"""

from __future__ import annotations

import os
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

_IMAGE_BYTES = 6 * 2**30
_WRITE_BYTES = 512 * 1024


class Latencies(NamedTuple):
    """Medians of a disk, in ms: writing half a megabyte into a new file, syncing it, unlinking it."""

    write_ms: float
    sync_ms: float
    unlink_ms: float

    def __str__(self) -> str:
        return (
            f"512 KiB written in {self.write_ms:.1f} ms, synced in {self.sync_ms:.1f} ms, "
            f"unlinked in {self.unlink_ms:.2f} ms"
        )


@contextmanager
def slow_disk(folder: Path) -> Iterator[Path]:
    """Mounts the file system, without `sync` yet.

    Raises:
        subprocess.CalledProcessError: no rights to mount here.
    """
    image, mounted = folder / "slow.img", folder / "slow"
    mounted.mkdir(parents=True, exist_ok=True)
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True, capture_output=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(mounted)], check=True, capture_output=True)
    try:
        yield mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=False, capture_output=True)
        image.unlink()


@contextmanager
def slow_disk_if_any(folder: Path, notes: list[str]) -> Iterator[Path | None]:
    """The same; None where there can be none, and a note says why."""
    with ExitStack() as stack:
        mounted = None
        try:
            mounted = stack.enter_context(slow_disk(folder))
        except subprocess.CalledProcessError as error:
            notes.append(f"No slow disk: {error.stderr.decode().strip()}")
        except OSError as error:  # no mkfs.ext4 on a small system, say
            notes.append(f"No slow disk: {error.filename or ''}: {error.strerror}")
        yield mounted


def make_slow(mounted: Path, *, slow: bool) -> None:
    """Mounts it again with or without `sync`."""
    option = f"remount,{'sync' if slow else 'async'}"
    subprocess.run(["mount", "-o", option, str(mounted)], check=True, capture_output=True)


def latencies(folder: Path, files: int = 40) -> Latencies:
    """Measures writing, syncing and unlinking of files in a folder."""
    took: dict[str, list[float]] = {"write": [], "sync": []}
    paths = [folder / str(uuid.uuid4()) for _ in range(files)]

    def timed(name: str, work: Callable[[], object]) -> None:
        began = time.monotonic()
        work()
        took[name].append((time.monotonic() - began) * 1000)

    for path in paths:
        with path.open("wb", buffering=0) as file:
            timed("write", lambda file=file: file.write(bytes(_WRITE_BYTES)))  # type: ignore[misc]
            timed("sync", lambda file=file: os.fdatasync(file.fileno()))  # type: ignore[misc]
        path.unlink()
    return Latencies(statistics.median(took["write"]), statistics.median(took["sync"]), unlink_ms(folder))


def unlink_ms(folder: Path, files: int = 100) -> float:
    """The median of an unlink there, in ms."""
    paths = [folder / str(uuid.uuid4()) for _ in range(files)]
    for path in paths:
        path.write_bytes(b"x")
    os.sync()
    took = []
    for path in paths:
        began = time.monotonic()
        path.unlink()
        took.append((time.monotonic() - began) * 1000)
    return statistics.median(took)
