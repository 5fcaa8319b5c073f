"""`make bench-deletion`: deletion, and how it slows ingest (about 25 minutes; --quick: one).

`python -m bench deletion --steps STEP...` runs some of the steps:
`remove` (how long Orthanc waits for one), `delete` (latency of DELETE), `drain` (files a second by depth of the ledger,
and memory), `p99` (ingest while a large drain runs), `ingest` (the storage area against native Orthanc), `cost` (each
section where no disk is in the way).
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from harness import phantom
from harness.orthanc_process import OrthancProcess

from . import deletion_cost, deletion_drain, deletion_ingest, deletion_latency, deletion_remove, slow_disk
from .machine import machine

STEPS = ("remove", "delete", "drain", "p99", "ingest", "cost")
RAM_DISK = Path("/dev/shm")
MAX_COST_CLIENTS = 4  # more say nothing new: two cores are busy with four


@dataclass(frozen=True)
class Plan:
    """How many instances, rounds and depths to measure."""

    slices: int = phantom.SLICES
    large: int = 5000
    depths: Sequence[int] = (1_000, 100_000, 1_000_000, 10_000_000)
    sample: int = 50_000
    clients: Sequence[int] = (1, 4, 16)
    syncs: Sequence[bool] = (True, False)
    rounds: int = 5
    backlog: int = 60_000
    tops: int = 256
    slow: bool = True
    removals: int = 50_000
    quiet_s: float = deletion_remove.QUIET_S


QUICK = Plan(20, 60, (1_000, 20_000), 5_000, (4,), (True,), 2, 3_000, 2, removals=3_000, quiet_s=1.0)


@dataclass
class Report:
    """The samples and tables of all steps."""

    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    def add(self, step: str, samples: Sequence[Any], *lines: str) -> None:
        """Adds the samples and the table of one step."""
        self.samples[step] = [asdict(sample) for sample in samples]
        self.tables.append("\n".join(lines) + "\n")


def remove_step(plan: Plan, folder: Path, report: Report, progress: Callable[[str], None]) -> None:
    """Measures how long `remove` keeps Orthanc waiting."""
    notes: list[str] = []
    samples = deletion_remove.measure_on(deletion_remove.THIS_DISK, folder, plan.removals, plan.quiet_s, progress)
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as ram:
        samples += deletion_remove.measure_on(deletion_remove.TMPFS, Path(ram), plan.removals, plan.quiet_s, progress)
    if plan.slow:
        with slow_disk.slow_disk_if_any(folder, notes) as slow:
            if slow is not None:
                slow_disk.make_slow(slow, slow=True)
                samples += deletion_remove.measure_on(
                    deletion_remove.SLOW_DISK, slow, plan.removals, plan.quiet_s, progress
                )
    report.add("remove", samples, *deletion_remove.rows(samples), *([""] if notes else []), *notes)


def delete_step(plan: Plan, folder: Path, report: Report, progress: Callable[[str], None]) -> None:
    """Measures the latency of DELETE."""
    studies = [
        (phantom.make_study(folder / "study", slices=plan.slices), plan.rounds),
        (phantom.make_study(folder / "large", slices=plan.large, side=32, seed=5), 1),
    ]
    samples = deletion_latency.measure(
        folder, studies, deletion_latency.THIS_DISK, folder, slow=False, progress=progress
    )
    notes = [f"An unlink on this disk takes {slow_disk.unlink_ms(folder):.2f} ms"]
    if plan.slow:
        with slow_disk.slow_disk_if_any(folder, notes) as slow:
            if slow is not None:
                samples += deletion_latency.measure(
                    folder, studies, deletion_latency.SLOW_DISK, slow, slow=True, progress=progress
                )
                slow_disk.make_slow(slow, slow=True)
                notes.append(f"on the slow one (ext4 in a file, mounted sync) {slow_disk.unlink_ms(slow):.2f} ms")
    if not deletion_latency.CPP_PLUGIN.exists():
        notes.append("libDelayedDeletion.so is not installed here: the C++ plugin is not measured")
    report.add("delete", samples, *deletion_latency.rows(samples), "", ". ".join(notes) + ".")


def drain_step(plan: Plan, folder: Path, report: Report, progress: Callable[[str], None]) -> None:
    """Measures files a second and memory, by depth of the ledger."""
    del folder
    samples = []
    for depth in plan.depths:
        progress(f"drain at {depth:,} pending")
        with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as ram:
            samples.append(deletion_drain.measure(Path(ram), depth, plan.sample))
    rows = [
        f"| {s.depth:,} | {s.existing_per_second:,.0f} "
        f"| {f'{s.missing_per_second:,.0f}' if s.missing_per_second else ''} "
        f"| {s.memory_mb:.0f} | {s.memory_mb - samples[0].memory_mb:+.0f} |"
        for s in samples
    ]
    heading = (
        "| pending | files/s, existing | files/s, gone already | memory, MB | than at the least depth |",
        "|--:|--:|--:|--:|--:|",
    )
    report.add("drain", samples, *heading, *rows)


def p99_step(plan: Plan, folder: Path, report: Report, progress: Callable[[str], None]) -> None:
    """Measures ingest while a large drain runs."""
    study = phantom.make_study(folder / "study", slices=plan.slices)
    archive = folder / "archive"
    deletion_ingest.make_archive(archive, plan.tops)
    samples = []
    with deletion_ingest.servers(folder / "p99", archive, {"bundle": {"DeferredDelete": {}}}, sync=True) as running:
        server = running["bundle"]
        _fill(server, archive, plan.backlog)
        deletion_ingest.one_turn("warm-up", server, study, 4, sync=True)
        for number in range(plan.rounds):
            for name, action in (("undisturbed", "pause"), ("during a drain", "resume")):
                progress(f"ingest {name}, round {number + 1}")
                server.json("POST", f"/deferred-delete/{action}", b"")
                samples.append(deletion_ingest.one_turn(name, server, study, 4, sync=True))
                server.json("POST", "/deferred-delete/pause", b"")
                left = server.json("GET", "/deferred-delete/status")
                _delete_all(server)
    heading = ("| ingest, HTTP x4 | instances/s | p99, ms |", "|---|--:|--:|")
    rows = [
        f"| {name} | {_median(samples, name, 'per_second'):.0f} | {_median(samples, name, 'p99_ms'):.1f} |"
        for name in ("undisturbed", "during a drain")
    ]
    ratios = [
        _median(samples, "during a drain", each) / _median(samples, "undisturbed", each)
        for each in ("per_second", "p99_ms")
    ]
    rows.append(f"| ratio | {ratios[0]:.2f} | {ratios[1]:.2f} |")
    report.add("p99", samples, *heading, *rows, "", f"{left['deleted_since_start']} files went meanwhile.")


def ingest_step(plan: Plan, folder: Path, report: Report, progress: Callable[[str], None]) -> None:
    """Measures the storage area against native Orthanc."""
    study = phantom.make_study(folder / "study", slices=plan.slices)
    samples = deletion_ingest.measure(
        folder,
        study,
        {"native": {}, "bundle": {"DeferredDelete": {}}, "SyncHeaders": {"DeferredDelete": {"SyncHeaders": True}}},
        clients=plan.clients,
        syncs=plan.syncs,
        rounds=plan.rounds,
        tops=plan.tops,
        progress=progress,
    )
    rows = []
    for sync in plan.syncs:
        for clients in plan.clients:
            cell = [s for s in samples if (s.sync, s.clients) == (sync, clients)]
            native = _median(cell, "native", "per_second")
            for name in ("native", "bundle", "SyncHeaders"):
                speed = _median(cell, name, "per_second")
                cpu = _median(cell, name, "cpu_ms")
                rows.append(
                    f"| {'on' if sync else 'off'} | {clients} | {name} | {speed:.0f} | {speed / native:.2f} "
                    f"| {cpu:.1f} |"
                )
    heading = (
        "| SyncStorageArea | HTTP clients | | instances/s | of native | server CPU ms/instance |",
        "|---|--:|---|--:|--:|--:|",
    )
    report.add("ingest", samples, *heading, *rows)


def cost_step(plan: Plan, folder: Path, report: Report, progress: Callable[[str], None]) -> None:
    """Measures each section, and all but transcoding, where no disk is in the way."""
    study = phantom.make_study(folder / "study", slices=plan.slices)
    clients = [count for count in plan.clients if count <= MAX_COST_CLIENTS]
    with tempfile.TemporaryDirectory(dir=RAM_DISK if RAM_DISK.is_dir() else None) as ram:
        samples = deletion_cost.measure(
            Path(ram), study, clients=clients, rounds=plan.rounds, tops=plan.tops, progress=progress
        )
    report.add("cost", samples, *deletion_cost.rows(samples, clients))


def _median(samples: Sequence[Any], variant: str, name: str) -> float:
    return float(statistics.median(getattr(s, name) for s in samples if s.variant == variant))


def _fill(server: OrthancProcess, archive: Path, files: int) -> None:
    """Restarts the server, paused, with so many pending deletions of files that exist."""
    server.stop()
    names = deletion_drain.uuids(files, 1)
    for name in names:
        path = archive / name[:2] / name[2:4] / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 2048)
    deletion_drain.fill_ledger(Path(server.configuration["DeferredDelete"]["Path"]), files, names)
    server.start()


def _delete_all(server: OrthancProcess) -> None:
    for study in server.json("GET", "/studies"):
        server.json("DELETE", f"/studies/{study}")


RUN = {
    "remove": remove_step,
    "delete": delete_step,
    "drain": drain_step,
    "p99": p99_step,
    "ingest": ingest_step,
    "cost": cost_step,
}


def main() -> int:
    """Measures and prints the chosen steps."""
    parser = argparse.ArgumentParser(prog="python -m bench deletion", description=__doc__)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--quick", action="store_true", help="a smoke test: the numbers mean nothing")
    parser.add_argument("--rounds", type=int, help="turns of each cell of p99 and ingest (default 5)")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="its disk is what is measured")
    arguments = parser.parse_args()
    plan = QUICK if arguments.quick else Plan()
    if arguments.rounds:
        plan = Plan(**(plan.__dict__ | {"rounds": arguments.rounds}))
    arguments.folder.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="deletion-", dir=arguments.folder.absolute()))
    console, report = Console(stderr=True), Report()
    try:
        with console.status("starting") as status:
            for step in arguments.steps:
                RUN[step](plan, folder, report, status.update)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    kind = "a quick run, of no meaning" if arguments.quick else f"medians of {plan.rounds} rounds"
    text = f"{plan.slices} slices of a synthetic CT phantom; {kind}; {machine()}\n\n" + "\n".join(report.tables)
    (arguments.folder / "deletion.json").write_text(json.dumps(report.samples, indent=1))
    (arguments.folder / "deletion.md").write_text(text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
