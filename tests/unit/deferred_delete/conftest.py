"""What the tests of deferred_delete share."""

import os
import random
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferred_delete import FileStorage, Ledger

REPOSITORY = Path(__file__).parents[3]


class FakeClock:
    """The ledger's clock, moved by hand."""

    set_back_by_ms = 0

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.time_ms = now_ms

    def now_ms(self) -> int:
        return self.time_ms


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def storage(tmp_path: Path) -> FileStorage:
    return FileStorage(tmp_path / "storage", sync=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


@pytest.fixture
def uuids() -> Callable[[int], list[str]]:
    """The same UUIDs in each run of a test."""
    source = random.Random(20)
    return lambda count: [str(uuid.UUID(int=source.getrandbits(128), version=4)) for _ in range(count)]


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
        give_up = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < give_up, "it did not happen in time"
            time.sleep(0.005)

    return wait


@pytest.fixture
def tmpfs(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Mounts small file systems that can be filled up, or made read-only, without harm."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    mounted: list[Path] = []

    def mount(size_kib: int) -> Path:
        where = tmp_path / f"disk{len(mounted)}"
        where.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(where)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("no rights to mount here")
        mounted.append(where)
        return where

    yield mount
    for where in mounted:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


@pytest.fixture
def remount() -> Callable[[Path, str], None]:
    """Makes a mounted file system "ro" or "rw"."""

    def again(where: Path, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", str(where)], check=True, capture_output=True)

    return again


@pytest.fixture
def repository() -> Path:
    return REPOSITORY
