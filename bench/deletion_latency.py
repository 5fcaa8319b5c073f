"""Measures DELETE of a study: native Orthanc, the bundle, and the C++ DelayedDeletion plugin if installed.

One server of each runs, and they take turns. It measures on this machine's disk and on a slow one: an ext4 file system
in a file, mounted with `sync` before the DELETE, so that each unlink and each rmdir waits for the disk below. How long
they wait is measured too. The attachments are on the slow disk, and with them the ledger; Orthanc's index stays on this
machine's disk, as at sites that have their archive on a network disk.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

from .deletion_ingest import wait_until_drained
from .slow_disk import make_slow

CPP_PLUGIN = Path("/usr/share/orthanc/plugins/libDelayedDeletion.so")
THIS_DISK, SLOW_DISK = "this disk", "slow disk, ledger on it"
# How many times as fast as native the bundle is to delete a study of a CT.
AIMS = {THIS_DISK: 6, SLOW_DISK: 50}


@dataclass(frozen=True)
class DeleteSample:
    """The result of one DELETE."""

    variant: str
    disk: str
    instances: int
    milliseconds: float


def variants(place: Path) -> dict[str, dict[str, Any]]:
    """The variants by name, with what each adds to the configuration; databases are in ``place``."""
    found: dict[str, dict[str, Any]] = {
        "native": {},
        "bundle": {"DeferredDelete": {"Path": str(place / "ledger.db")}},
    }
    if CPP_PLUGIN.exists():
        section = {"Enable": True, "Path": str(place / "cpp.db")}
        found["C++ plugin"] = {"Plugins": [str(CPP_PLUGIN)], "DelayedDeletion": section}
    return found


def measure(
    folder: Path,
    studies: Sequence[tuple[Sequence[Path], int]],
    disk: str,
    storage: Path,
    *,
    slow: bool,
    progress: Callable[[str], None],
) -> list[DeleteSample]:
    """Stores and deletes each study so many times in each variant; with ``slow`` the storage is of ``slow_disk``."""
    samples = []
    with ExitStack() as stack:
        servers = {
            name: stack.enter_context(_server(folder / disk / name, storage / f"of {name}", name))
            for name in variants(folder)
        }
        for study, rounds in studies:
            for number in range(rounds):
                for name, server in servers.items():
                    progress(f"DELETE of {len(study)} instances, {disk}, {name}, round {number + 1}")
                    senders.http_upload(server, study, clients=4)
                    server.wait_until_written()
                    os.sync()
                    if slow:
                        make_slow(storage, slow=True)
                    samples.append(DeleteSample(name, disk, len(study), _delete(server)))
                    if slow:
                        make_slow(storage, slow=False)
                    _drain(server)
    return samples


def _server(place: Path, storage: Path, name: str) -> OrthancProcess:
    (place / "index").mkdir(parents=True)
    storage.mkdir()
    configuration = base_configuration(place, bundle=name == "bundle")
    configuration |= {"StorageDirectory": str(storage), "IndexDirectory": str(place / "index")}
    configuration |= {"SyncStorageArea": False} | variants(storage)[name]
    return OrthancProcess(place, configuration, graceful=False)


def _delete(server: OrthancProcess) -> float:
    studies = server.json("GET", "/studies")
    if len(studies) != 1:
        raise OrthancError(f"{len(studies)} studies are stored: expected one")
    began = time.monotonic()
    server.json("DELETE", f"/studies/{studies[0]}")
    return (time.monotonic() - began) * 1000


def _drain(server: OrthancProcess) -> None:
    """Leaves nothing to unlink during the next server's turn."""
    if "DeferredDelete" in server.configuration:
        server.json("POST", "/deferred-delete/drain", b"")
    if len(server.configuration.keys() & {"DeferredDelete", "DelayedDeletion"}):
        wait_until_drained(server)
    os.sync()


def rows(samples: Sequence[DeleteSample]) -> Iterator[str]:
    """The lines of the table."""
    yield "| DELETE of a study | instances | | ms | native takes times as long | aim |"
    yield "|---|--:|---|--:|--:|---|"
    cells = {(s.disk, s.instances): s.instances for s in samples}
    least = min((s.instances for s in samples), default=0)
    for disk, instances in cells:
        took = {
            name: statistics.median(
                s.milliseconds for s in samples if (s.disk, s.instances, s.variant) == (disk, instances, name)
            )
            for name in dict.fromkeys(s.variant for s in samples)
        }
        for name, ms in took.items():
            aim = ""
            if name == "bundle" and instances == least:
                aim = f"{AIMS[disk]} or more" + (", and no slower than C++" if "C++ plugin" in took else "")
            yield f"| {disk} | {instances} | {name} | {ms:.0f} | {took['native'] / ms:.1f} | {aim} |"
