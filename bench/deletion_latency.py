"""Measures DELETE of a study: native Orthanc, the bundle, and the C++ DelayedDeletion plugin if installed.

It measures on this machine's disk and on a slow one: an ext4 file system in a file, mounted with `sync` before the
DELETE, so that each unlink and each rmdir waits for the disk below. How long they wait is measured too. Index and
ledger stay on this machine's disk, as at sites that have only the attachments on a network disk.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

from .slow_disk import make_slow

CPP_PLUGIN = Path("/usr/share/orthanc/plugins/libDelayedDeletion.so")


@dataclass(frozen=True)
class DeleteSample:
    """The result of one DELETE."""

    variant: str
    disk: str
    instances: int
    milliseconds: float


def variants(place: Path) -> dict[str, dict[str, Any]]:
    """The variants by name, with what each adds to the configuration."""
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
    studies: Sequence[Sequence[Path]],
    disk: str,
    storage: Path,
    *,
    slow: bool,
    progress: Callable[[str], None],
) -> list[DeleteSample]:
    """Stores and deletes each study in each variant; with ``slow`` the storage is that of ``slow_disk``."""
    samples = []
    for name in variants(folder):
        place = folder / f"{disk}-{name}".replace(" ", "-")
        (place / "index").mkdir(parents=True)
        configuration = base_configuration(place, bundle=name == "bundle")
        configuration |= {"StorageDirectory": str(storage / place.name), "IndexDirectory": str(place / "index")}
        configuration |= {"SyncStorageArea": False} | variants(place)[name]
        with OrthancProcess(place, configuration, graceful=False) as server:
            for study in studies:
                progress(f"DELETE of {len(study)} instances, {disk}, {name}: storing")
                senders.http_upload(server, study, clients=4)
                os.sync()
                if slow:
                    make_slow(storage, slow=True)
                progress(f"DELETE of {len(study)} instances, {disk}, {name}: deleting")
                samples.append(DeleteSample(name, disk, len(study), _delete(server)))
                if slow:
                    make_slow(storage, slow=False)
    return samples


def _delete(server: OrthancProcess) -> float:
    studies = server.json("GET", "/studies")
    if len(studies) != 1:
        raise OrthancError(f"{len(studies)} studies are stored: expected one")
    began = time.monotonic()
    server.json("DELETE", f"/studies/{studies[0]}")
    return (time.monotonic() - began) * 1000
