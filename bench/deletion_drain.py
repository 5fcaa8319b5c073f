"""Measures how fast the worker drains ledgers of several depths, and its memory.

`python -m bench.deletion_drain FOLDER DEPTH SAMPLE` measures one depth and prints a JSON object. The folder should be
on a RAM disk. The first SAMPLE rows that are due name files that exist. The others name files that are gone already,
which complete faster. Both rates are given.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from random import Random

from deferred_delete import LEDGER_NAME, DeferredDelete, Settings
from harness.orthanc_process import BUNDLE

_FILL_CACHE_KIB = 1_500_000
_POLL_S = 0.005


@dataclass(frozen=True)
class DrainSample:
    """The result for one depth: files a second that existed or were gone already (0: not measured), and memory."""

    depth: int
    existing_per_second: float
    missing_per_second: float
    memory_mb: float


def measure(folder: Path, depth: int, sample: int) -> DrainSample:
    """Measures one depth in a fresh process."""
    command = [sys.executable, "-m", "bench.deletion_drain", str(folder), str(depth), str(sample)]
    done = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=True)
    return DrainSample(**json.loads(done.stdout.splitlines()[-1]))


def uuids(count: int, seed: int) -> list[str]:
    """Random attachment UUIDs, as Orthanc makes them, so that all folders and the whole index are used."""
    source = Random(seed)
    return [str(uuid.UUID(int=source.getrandbits(128), version=4)) for _ in range(count)]


def fill_ledger(path: Path, depth: int, first: list[str]) -> None:
    """Puts ``depth`` due rows into a closed ledger, those of ``first`` before all others."""
    source = Random(f"rest of {depth}")
    now_ms = int(time.time() * 1000) - 3_600_000
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as ledger:
        ledger.execute(f"PRAGMA cache_size = -{_FILL_CACHE_KIB}")
        ledger.execute("PRAGMA journal_mode = OFF")
        ledger.execute("BEGIN")
        ledger.executemany(
            "INSERT INTO pending (pending_id, attachment_uuid, content_type, enqueued_at, next_attempt_at) "
            "VALUES (?, ?, 1, ?, ?)",
            (
                (n + 1, first[n] if n < len(first) else random_uuid(source), now_ms + n // 10, now_ms + n // 10)
                for n in range(depth)
            ),
        )
        ledger.execute("COMMIT")
        ledger.execute("PRAGMA journal_mode = WAL")


def random_uuid(source: Random) -> str:
    """Makes a UUID faster than ``uuids``, for ten million of them."""
    digits = f"{source.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _memory_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024 / 1e6


def _drain(folder: Path, depth: int, sample: int) -> DrainSample:
    files = uuids(min(sample, depth), depth)
    DeferredDelete(folder, Settings(), sync=False).close()
    fill_ledger(folder / LEDGER_NAME, depth, files)
    service = DeferredDelete(folder, Settings(grace_period=0), sync=False)
    for attachment in files:
        service.storage.create(attachment, b"x" * 512)
    missing = min(sample, depth - len(files))
    began = time.monotonic()
    service.worker.start()
    existing_s = _when(service, len(files)) - began
    missing_s = _when(service, len(files) + missing) - began - existing_s
    memory_mb = _memory_mb()
    service.worker.stop(10)
    # Not closed: that would copy the log back, which is not to be measured. The RAM disk is removed anyway.
    return DrainSample(depth, len(files) / existing_s, missing / missing_s if missing else 0.0, memory_mb)


def _when(service: DeferredDelete, completed: int) -> float:
    counters = service.worker.counters
    while counters.deleted + counters.missing < completed:
        time.sleep(_POLL_S)
    return time.monotonic()


if __name__ == "__main__":
    where, how_deep, how_many = sys.argv[1:]
    print(json.dumps(_drain(Path(where), int(how_deep), int(how_many)).__dict__))
