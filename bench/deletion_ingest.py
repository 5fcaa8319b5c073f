"""Measures how the storage area changes ingest: several Orthancs on one archive take turns.

Each variant is one running Orthanc with an index of its own; all share one storage folder whose 65,536 folders are
there already, as in an archive of some hundred thousand files; in an empty one both would mostly measure mkdir. In its
turn each server stores the study, and then deletes it, which is not measured.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

DRAIN_DEADLINE_S = 120.0


@dataclass(frozen=True)
class IngestSample:
    """The result of one turn: instances a second, server CPU an instance, 99th percentile of the store latency."""

    variant: str
    sync: bool
    clients: int
    per_second: float
    cpu_ms: float
    p99_ms: float


def make_archive(root: Path, tops: int = 256) -> None:
    """Makes every folder of Orthanc's layout, with an empty file in it so that no deletion removes it."""
    finished = root / "made"
    if finished.exists():
        return
    for top in range(tops):
        for below in range(256):
            folder = root / f"{top:02x}" / f"{below:02x}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "keep").touch()
    finished.touch()


@contextmanager
def servers(
    folder: Path, archive: Path, variants: dict[str, dict[str, Any]], *, sync: bool
) -> Iterator[dict[str, OrthancProcess]]:
    """Runs an Orthanc for each variant; "native" is the one without the bundle."""
    with ExitStack() as stack:
        running = {}
        for name, sections in variants.items():
            place = folder / name.replace(" ", "-")
            configuration = base_configuration(place, bundle=name != "native")
            configuration |= {"StorageDirectory": str(archive), "IndexDirectory": str(place / "index")}
            configuration |= {"SyncStorageArea": sync, "HttpThreadsCount": 50} | sections
            if "DeferredDelete" in configuration:
                own = {"GracePeriod": 0, "Path": str(place / "ledger.db")}
                configuration["DeferredDelete"] = own | configuration["DeferredDelete"]
            (place / "index").mkdir(parents=True, exist_ok=True)
            server = OrthancProcess(place, configuration, graceful=False)
            running[name] = stack.enter_context(server)
            if "DeferredDelete" in configuration:
                server.json("POST", "/deferred-delete/pause", b"")
        yield running


def cpu_seconds(server: OrthancProcess) -> float:
    """CPU seconds of the server so far."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def empty(server: OrthancProcess) -> None:
    """Deletes everything and waits until the files are gone."""
    for study in server.json("GET", "/studies"):
        server.json("DELETE", f"/studies/{study}")
    if "DeferredDelete" not in server.configuration:
        return
    server.json("POST", "/deferred-delete/resume", b"")
    wait_until_drained(server)
    server.json("POST", "/deferred-delete/pause", b"")


def wait_until_drained(server: OrthancProcess) -> None:
    """Waits until no deletion is pending.

    Raises:
        OrthancError: not within DRAIN_DEADLINE_S.
    """
    give_up = time.monotonic() + DRAIN_DEADLINE_S
    while server.json("GET", "/plugins/delayed-deletion/status")["FilesPendingDeletion"]:
        if time.monotonic() > give_up:
            raise OrthancError(f"files are still pending after {DRAIN_DEADLINE_S:g} s")
        time.sleep(0.05)


def one_turn(name: str, server: OrthancProcess, study: Sequence[Path], clients: int, *, sync: bool) -> IngestSample:
    """Stores the study once.

    Raises:
        OrthancError: an instance was refused.
    """
    ended: list[float] = []
    cpu, began = cpu_seconds(server), time.monotonic()
    latencies_ms = senders.timed_http_upload(server, study, clients=clients)
    ended.append(time.monotonic() - began)
    used = cpu_seconds(server) - cpu
    p99 = statistics.quantiles(latencies_ms, n=100)[98] if len(latencies_ms) > 1 else latencies_ms[0]
    return IngestSample(name, sync, clients, len(study) / ended[0], used * 1000 / len(study), p99)


def measure(
    folder: Path,
    study: Sequence[Path],
    variants: dict[str, dict[str, Any]],
    *,
    clients: Sequence[int],
    syncs: Sequence[bool],
    rounds: int,
    tops: int = 256,
    progress: Callable[[str], None],
) -> list[IngestSample]:
    """Runs all turns, variant after variant in each round; the first turn of each server is not counted."""
    archive = folder / "archive"
    make_archive(archive, tops)
    samples = []
    for sync in syncs:
        with servers(folder / f"sync-{sync}", archive, variants, sync=sync) as running:
            for name, server in running.items():
                one_turn(name, server, study, 4, sync=sync)
                empty(server)
            for number in range(rounds):
                for count in clients:
                    for name, server in running.items():
                        progress(f"ingest, sync {sync}, {count} clients, round {number + 1}, {name}")
                        samples.append(one_turn(name, server, study, count, sync=sync))
                        empty(server)
                        os.sync()
    return samples
