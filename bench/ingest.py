"""Ingest and deletion of one study: `python -m bench.ingest`, or `make bench`.

Every cell is a fresh Orthanc on an empty storage folder: the study goes in by one way of sending, is deleted by one DELETE of the study,
and the server is gone. Cells are interleaved over the rounds, so that what else the machine does falls on all of them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from harness import phantom, senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
STORAGE: dict[str, Any] = {"DeferredDelete": {"GracePeriod": 3600}}
WATCH: dict[str, Any] = {"DicomAssociations": {}}
TIMING: dict[str, Any] = {"StageTiming": {}}

# Name: (with the bundle?, sections and options). The first is what the others are compared with.
VARIANTS: dict[str, tuple[bool, dict[str, Any]]] = {
    "native": (False, {}),
    "native .70": (False, {"IngestTranscoding": JPEG_LOSSLESS}),
    "DicomAssociations": (True, WATCH),
    "DeferredDelete": (True, STORAGE),
    "StageTiming": (True, TIMING),
    "all but transcoding": (True, STORAGE | WATCH | TIMING),
    "all, .70": (True, STORAGE | WATCH | TIMING | {"IngestTranscoder": {"Default": "JPEGLosslessSV1"}}),
    "all, .80": (True, STORAGE | WATCH | TIMING | {"IngestTranscoder": {"Default": "JPEGLSLossless"}}),
    "all, .201": (True, STORAGE | WATCH | TIMING | {"IngestTranscoder": {"Default": "HTJ2KLossless"}}),
}


def by_http(clients: int) -> Callable[[OrthancProcess, list[Path]], None]:
    """POST /instances by so many keep-alive clients."""

    def send(server: OrthancProcess, paths: list[Path]) -> None:
        senders.http_upload(server, paths, clients=clients)

    return send


def by_storescu(associations: int) -> Callable[[OrthancProcess, list[Path]], None]:
    """So many unmodified storescu at once, the study dealt out among them."""

    def send(server: OrthancProcess, paths: list[Path]) -> None:
        with ThreadPoolExecutor(associations) as pool:
            list(
                pool.map(
                    lambda part: senders.storescu(server, part),
                    [paths[first::associations] for first in range(associations)],
                )
            )

    return send


SENDERS = {"storescu x1": by_storescu(1), "storescu x4": by_storescu(4), "HTTP x1": by_http(1), "HTTP x4": by_http(4)}


@dataclass(frozen=True)
class Sample:
    """One cell of one round."""

    variant: str
    sender: str
    seconds: float
    delete_ms: float
    disk_mb: float
    cpu_seconds: float
    peak_mb: float


def measure(variant: str, sender: str, study: list[Path], folder: Path) -> Sample:
    """One cell.

    Raises:
        OrthancError: a server that does not start, or does not hold the study afterwards.
    """
    bundle, sections = VARIANTS[variant]
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        with OrthancProcess(place, base_configuration(place, bundle=bundle) | sections, graceful=False) as server:
            began = time.monotonic()
            SENDERS[sender](server, study)
            seconds = time.monotonic() - began
            held = server.json("GET", "/statistics")
            if held["CountInstances"] != len(study):
                raise OrthancError(f"{held['CountInstances']} of {len(study)} instances are stored")
            cpu_seconds, peak_mb = usage(server)
            (study_id,) = server.json("GET", "/studies")
            began = time.monotonic()
            server.json("DELETE", f"/studies/{study_id}")
            delete_ms = (time.monotonic() - began) * 1000
            return Sample(variant, sender, seconds, delete_ms, int(held["TotalDiskSize"]) / 1e6, cpu_seconds, peak_mb)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def usage(server: OrthancProcess) -> tuple[float, float]:
    """CPU seconds and peak resident megabytes of the server so far."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return cpu, peak * 1024 / 1e6


def tables(samples: list[Sample], count: int) -> str:
    """Markdown: instances/s with ratio to native, DELETE, and what it took."""
    chosen = [variant for variant in VARIANTS if any(sample.variant == variant for sample in samples)]
    sending = [sender for sender in SENDERS if any(sample.sender == sender for sample in samples)]

    def median(variant: str, sender: str | None, field: str) -> float | None:
        values = [getattr(s, field) for s in samples if s.variant == variant and sender in {None, s.sender}]
        return statistics.median(values) if values else None

    lines = [f"| instances/s (ratio to native) | {' | '.join(sending)} |", "|---" * (len(sending) + 1) + "|"]
    for variant in chosen:
        cells = []
        for sender in sending:
            own, native = median(variant, sender, "seconds"), median("native", sender, "seconds")
            ratio = f" ({native / own:.2f})" if own and native else ""
            cells.append(f"{count / own:.0f}{ratio}" if own else "failed")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    lines += [
        "",
        "| | DELETE of the study, ms | on disk, MB | CPU s per study | peak memory, MB |",
        "|---|---|---|---|---|",
    ]
    for variant in chosen:
        numbers = [median(variant, None, field) for field in ("delete_ms", "disk_mb", "cpu_seconds", "peak_mb")]
        lines.append(
            f"| {variant} | " + " | ".join(f"{number:.1f}" if number is not None else "" for number in numbers) + " |"
        )
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What the numbers were taken on, in a line."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}"


def main() -> int:
    """Measures and prints; 1 if a cell failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slices", type=int, default=phantom.SLICES)
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=list(VARIANTS))
    parser.add_argument("--senders", nargs="+", choices=list(SENDERS), default=list(SENDERS))
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("var/bench"),
        help="where studies and servers go; its disk is what is measured",
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    study = phantom.make_study(arguments.folder / "phantom", slices=arguments.slices)
    samples: list[Sample] = []
    failures: list[str] = []
    cells = list(itertools.product(range(arguments.rounds), arguments.senders, arguments.variants))
    with Progress(console=console) as progress:
        task = progress.add_task("bench", total=len(cells))
        for number, sender, variant in cells:
            progress.update(task, description=f"round {number + 1}, {sender}, {variant}")
            try:
                samples.append(measure(variant, sender, study, arguments.folder))
            except OrthancError as error:
                failures.append(f"{variant}, {sender}: {error}")
            progress.advance(task)
    size_mb = sum(path.stat().st_size for path in study) / 1e6
    heading = f"{len(study)} slices of a synthetic CT phantom, {size_mb:.0f} MB; medians of {arguments.rounds} rounds; {machine()}"
    report = f"{heading}\n\n{tables(samples, len(study))}" + "".join(f"\nfailed: {line}" for line in failures)
    (arguments.folder / "ingest.json").write_text(json.dumps([asdict(sample) for sample in samples], indent=1))
    (arguments.folder / "ingest.md").write_text(report)
    print(report)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
