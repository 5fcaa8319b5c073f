"""`make bench-memory`: resident memory after many large uploads at once.

Fifty clients each send one instance of 50 MB over HTTP at the same time. Malloc's arenas then keep memory, which
MallocArenaMax and malloc_trim reduce. Native Orthanc cannot be trimmed from outside, so it has no such column.
"""

from __future__ import annotations

import argparse
import http.client
import io
import shutil
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration
from harness.phantom import make_slice

TRIM_S = 1.0
SETTLE_S = 1.0


@dataclass(frozen=True)
class Variant:
    """How one server is set up."""

    name: str
    bundle: bool
    options: dict[str, Any]
    environment: dict[str, str]


# A thread for each client, and no syncs, which would only make it last longer.
CORE: dict[str, Any] = {"HttpThreadsCount": 64, "SyncStorageArea": False}
TIMING: dict[str, Any] = {"StageTiming": {"TrimMemoryEvery": 0}}
VARIANTS = (
    Variant("native, MallocArenaMax 5 (Orthanc's default)", False, {}, {}),
    Variant("bundle, MallocArenaMax 5", True, TIMING, {}),
    Variant("bundle, MallocArenaMax 1", True, TIMING | {"MallocArenaMax": 1}, {}),
    Variant("bundle, MallocArenaMax 0 (glibc's choice)", True, TIMING | {"MallocArenaMax": 0}, {}),
    Variant(
        "bundle, MallocArenaMax 0, MALLOC_ARENA_MAX=2",
        True,
        TIMING | {"MallocArenaMax": 0},
        {"MALLOC_ARENA_MAX": "2"},
    ),
    Variant(
        f"bundle, MallocArenaMax 5, TrimMemoryEvery {TRIM_S:g}",
        True,
        {"StageTiming": {"TrimMemoryEvery": TRIM_S}},
        {},
    ),
)


@dataclass
class Measured:
    """Resident memory of one server in bytes; None where it is not known."""

    idle: int
    peak: int
    after: int
    later: int
    arenas: int | None


def instances(count: int, size_bytes: int) -> list[tuple[bytes, bytes, bytes]]:
    """Large CT instances as (head, SOP Instance UID, tail), sharing the pixels: only the data set's UID differs."""
    side = int((size_bytes / 2) ** 0.5) & ~1
    dataset = make_slice(0, 1, side, 9)
    uid = str(dataset.SOPInstanceUID).encode()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    data = buffer.getvalue()
    begin = data.index(uid, data.index(uid) + 1)  # the first one is in the file meta information
    others = [uid[:-3] + b"%03d" % number for number in range(count)]
    return [(data[:begin], other, data[begin + len(uid) :]) for other in others]


def measure(folder: Path, variant: Variant, bodies: list[tuple[bytes, bytes, bytes]]) -> Measured:
    """One fresh Orthanc: resident memory idle, at the peak, after the uploads, and some seconds later."""
    configuration = base_configuration(folder, bundle=variant.bundle) | CORE | variant.options
    server = OrthancProcess(folder, configuration, environment=variant.environment, graceful=False)
    with server:
        idle = server.resident_bytes()
        gate = threading.Barrier(len(bodies))

        def upload(body: tuple[bytes, bytes, bytes]) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=300)
            gate.wait()
            connection.request("POST", "/instances", iter(body), {"Content-Length": str(sum(map(len, body)))})
            answer = connection.getresponse()
            if answer.status != 200:
                raise OrthancError(f"POST /instances: HTTP {answer.status}: {answer.read()[:200]!r}")
            connection.close()

        with ThreadPoolExecutor(len(bodies)) as pool:
            list(pool.map(upload, bodies))
        after = server.resident_bytes()
        assert server.process is not None
        status = Path(f"/proc/{server.process.pid}/status").read_text()
        peak = int(status.split("VmHWM:")[1].split()[0]) * 1024
        arenas = server.json("GET", "/timing/memory")["arenas"] if variant.bundle else None
        time.sleep(2 * TRIM_S + SETTLE_S)
        return Measured(idle, peak, after, server.resident_bytes(), arenas)


def main() -> int:
    """Measures every variant and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--megabytes", type=int, default=50)
    parser.add_argument(
        "--folder", type=Path, help="for the storage, 2.5 GB at a time; a tmpfs such as /dev/shm is quicker"
    )
    options = parser.parse_args()
    bodies = instances(options.clients, options.megabytes * 1_000_000)
    title = f"VmRSS in MB, {options.clients} uploads of {options.megabytes} MB at once"
    table = Table("", "idle", "peak", "after", f"{2 * TRIM_S + SETTLE_S:g} s later", "arenas", title=title)
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        for number, variant in enumerate(VARIANTS):
            folder = Path(place) / str(number)
            found = measure(folder, variant, bodies)
            shutil.rmtree(folder)  # 2.5 GB
            sizes = (found.idle, found.peak, found.after, found.later)
            table.add_row(variant.name, *(f"{size / 1e6:.0f}" for size in sizes), str(found.arenas or "?"))
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
