"""`make bench-transcoding`: transcoding on ingest against Orthanc's own.

Every cell is a fresh Orthanc on an empty storage folder that one study is sent to. Variants take turns within a round,
so that other load on the machine affects all of them. C-STORE is measured with DicomAssociations on for native Orthanc
too: stalls of 40 ms would otherwise hide the time of transcoding.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness import phantom
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

from .machine import usage
from .sending import HttpKeepAlive, Storescu
from .transcoding_report import NATIVE, NATIVE_GDCM, UNTOUCHED, Sample, write_report
from .variants import GDCM_PLUGIN, JPEG_LOSSLESS, STORAGE, WATCH
from .volumes import CRANIUM, real_ct

TARGETS = {
    ".70": "JPEGLosslessSV1",
    ".80": "JPEGLSLossless",
    ".90": "JPEG2000Lossless",
    ".201": "HTJ2KLossless",
    "RLE": "RLELossless",
}


def sections(variant: str, sender: str) -> tuple[bool, dict[str, Any]]:
    """Whether a cell loads the bundle, and what it adds to the configuration.

    Variants with the bundle are named by their target. `.70` has IngestTranscoder and DeferredDelete, whose storage
    area verifies during the write; `.70 alone` has IngestTranscoder and Orthanc's own storage area.
    """
    watch = WATCH if sender == "storescu" else {}
    if variant == UNTOUCHED:
        return bool(watch), watch
    if variant in {NATIVE, NATIVE_GDCM}:
        return bool(watch), watch | {"IngestTranscoding": JPEG_LOSSLESS}
    target = TARGETS[variant.removesuffix(" alone")]
    storage = {} if variant.endswith(" alone") else STORAGE
    return True, watch | storage | {"IngestTranscoder": {"Default": target}}


def configuration(variant: str, sender: str, place: Path) -> dict[str, Any]:
    """The configuration of one cell's server."""
    bundle, added = sections(variant, sender)
    document = base_configuration(place, bundle=bundle) | added
    if variant == NATIVE_GDCM:
        # A plugin that transcodes comes before Orthanc's own DCMTK. Throttling is the number of threads in GDCM, 4 in
        # Debian's configuration.
        document["Plugins"] = [*document.get("Plugins", []), str(GDCM_PLUGIN)]
        document["Gdcm"] = {"Enable": True, "RestrictTransferSyntaxes": [JPEG_LOSSLESS], "Throttling": 4}
    return document


@dataclass(frozen=True)
class Cell:
    """One cell to be measured."""

    study: str
    variant: str
    sender: str
    clients: int

    @property
    def name(self) -> str:
        """The cell's name for progress and failures."""
        return f"{self.study}, {self.sender} x{self.clients}, {self.variant}"


def measure(cell: Cell, paths: list[Path], folder: Path) -> Sample:
    """Measures one cell.

    Raises:
        OrthancError: a server that does not start, a sender that fails, or an instance that is not there afterwards.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    way = (HttpKeepAlive if cell.sender == "HTTP" else Storescu)(cell.clients)
    try:
        with OrthancProcess(place, configuration(cell.variant, cell.sender, place), graceful=False) as server:
            before = usage(server)[0]
            began = time.monotonic()
            way.send(server, paths)
            seconds = time.monotonic() - began
            server.wait_until_written()  # costs CPU, and no time of the sender
            cpu_seconds, peak_mb = usage(server)
            held = server.json("GET", "/statistics")
            if held["CountInstances"] != len(paths):
                raise OrthancError(f"{held['CountInstances']} of {len(paths)} instances are stored")
            _check_syntax(server, cell.variant)
            size = sum(path.stat().st_size for path in paths)
            return Sample(
                cell.study,
                cell.variant,
                cell.sender,
                cell.clients,
                len(paths) / seconds,
                size / int(held["TotalDiskSize"]),
                (cpu_seconds - before) * 1000 / len(paths),
                peak_mb,
            )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _check_syntax(server: OrthancProcess, variant: str) -> None:
    """Refuses a variant that kept originals, which would be the fastest of all."""
    first = server.json("GET", "/instances?since=0&limit=1")[0]
    found = server.request("GET", f"/instances/{first}/metadata/TransferSyntax").data.decode()
    compressed = not found.startswith("1.2.840.10008.1.2.1")
    if compressed == (variant == UNTOUCHED):
        raise OrthancError(f"instances are stored as {found}")


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench transcoding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--slices", type=int, default=phantom.SLICES, help="of the phantom")
    parser.add_argument("--side", type=int, default=phantom.SIDE, help="rows and columns of the phantom")
    parser.add_argument("--studies", nargs="+", choices=("phantom", "real CT"), default=["phantom", "real CT"])
    parser.add_argument("--targets", nargs="+", choices=list(TARGETS), default=[".70", ".80", ".201"])
    parser.add_argument("--senders", nargs="+", choices=("HTTP", "storescu"), default=["HTTP", "storescu"])
    parser.add_argument("--clients", nargs="+", type=int, default=[1, 4, 8, 16])
    parser.add_argument("--alone", action="store_true", help="also each target without DeferredDelete")
    parser.add_argument("--untouched", action="store_true", help="also native Orthanc without any transcoding")
    parser.add_argument("--no-gdcm", action="store_true", help="leave GDCM out where orthanc-gdcm is installed")
    parser.add_argument("--quick", action="store_true", help="a first impression: 100 slices, one and four clients")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="where studies, servers and results go")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.slices, arguments.clients = min(arguments.slices, 100), [1, 4]
    return arguments


def variants(arguments: argparse.Namespace, console: Console) -> list[str]:
    """The variants to compare, native Orthanc first."""
    chosen = [UNTOUCHED] if arguments.untouched else []
    chosen.append(NATIVE)
    if arguments.no_gdcm:
        pass
    elif GDCM_PLUGIN.exists():
        chosen.append(NATIVE_GDCM)
    else:
        console.print(f"{GDCM_PLUGIN} is missing (Debian's orthanc-gdcm): native transcoding by DCMTK only")
    for target in arguments.targets:
        chosen += [target, f"{target} alone"] if arguments.alone else [target]
    return chosen


def studies(arguments: argparse.Namespace, console: Console) -> dict[str, tuple[str, list[Path]]]:
    """The studies by name: description and files."""
    found: dict[str, tuple[str, list[Path]]] = {}
    if "phantom" in arguments.studies:
        paths = phantom.make_study(arguments.folder / "phantom", slices=arguments.slices, side=arguments.side)
        found["phantom"] = (
            f"{len(paths)} slices of a synthetic CT phantom, {arguments.side} x {arguments.side}, 12 bits",
            paths,
        )
    if "real CT" in arguments.studies and CRANIUM.exists():
        paths = real_ct(arguments.folder / "real-ct")
        found["real CT"] = (f"a real head CT, {len(paths)} slices of 256 x 256, 12 bits (InVesalius' Cranium)", paths)
    elif "real CT" in arguments.studies:
        console.print(f"{CRANIUM} is missing (Debian's invesalius-examples): no real CT")
    return found


def main() -> int:
    """Measures and prints; 1 if a cell failed."""
    arguments = parse()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    sent = studies(arguments, console)
    cells = [
        Cell(study, variant, sender, clients)
        for _, study, sender, clients, variant in itertools.product(
            range(arguments.rounds), sent, arguments.senders, arguments.clients, variants(arguments, console)
        )
        # The real CT shows how images compress. How clients scale is measured with the phantom.
        if study == "phantom" or clients in {1, 4}
    ]
    samples: list[Sample] = []
    failures: list[str] = []
    report = ""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("bench", total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.name)
            try:
                samples.append(measure(cell, sent[cell.study][1], arguments.folder))
            except (OrthancError, urllib3.exceptions.HTTPError) as error:
                # HTTPError where a server ends: GDCM sometimes overflows the stack of Orthanc's HTTP threads.
                failures.append(f"{cell.name}: {error}")
            progress.advance(task)
            report = write_report(samples, failures, sent, arguments)
    console.print(report, markup=False, highlight=False, soft_wrap=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
