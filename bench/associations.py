"""C-STORE, native Orthanc against the bundle's DicomAssociations: `python -m bench associations`, or `make bench-associations`.

Every cell is a fresh Orthanc on an empty storage folder, and native and tuned take turns, so that what else the machine does falls on both.
Senders are as their authors ship them: no variable is set for them.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness import phantom, senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

from .links import LOOPBACK, Link, can_make_namespaces, veth
from .machine import machine, usage

TOOLS = ("storescu", "dcmsend", "pynetdicom", "HTTP")
CELL_DEADLINE_S = 300.0


@dataclass(frozen=True)
class Sample:
    """One cell of one round."""

    link: str
    tool: str
    associations: int
    tuned: bool
    per_second: float
    cpu_ms_per_instance: float  # of the whole server
    watcher_percent: float  # of one core, while sending


def commands(tool: str, link: Link, port: int, parts: list[list[Path]]) -> list[list[str]]:
    """One command for each association."""
    if tool == "pynetdicom":
        start = [sys.executable, "-m", "bench.pynetdicom_sender", link.host, str(port)]
    else:
        start = [senders.tool(tool), "-aec", "ORTHANC", link.host, str(port)]
    return [[*link.prefix, *start, *map(str, part)] for part in parts]


def send(tool: str, link: Link, server: OrthancProcess, parts: list[list[Path]]) -> float:
    """Sends every part on an association of its own, all at once.

    Returns:
        Seconds.

    Raises:
        OrthancError: a sender failed, or took longer than `CELL_DEADLINE_S`.
    """
    if tool == "HTTP":
        began = time.monotonic()
        senders.http_upload(server, [path for part in parts for path in part], clients=len(parts))
        return time.monotonic() - began
    waits = tool == "pynetdicom"
    began = time.monotonic()
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        for command in commands(tool, link, server.dicom_port, parts)
    ]
    try:
        if waits:
            for process in processes:
                assert process.stdout is not None
                process.stdout.readline()
            began = time.monotonic()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()
        for process in processes:
            if process.wait(max(0.1, began + CELL_DEADLINE_S - time.monotonic())) != 0:
                raise OrthancError(f"{tool} ended with status {process.returncode}")
        return time.monotonic() - began
    except (subprocess.TimeoutExpired, BrokenPipeError) as error:
        raise OrthancError(f"{tool}: {error}") from None
    finally:
        for process in processes:
            process.kill()
            process.wait()


def watcher_cpu(server: OrthancProcess, *, tuned: bool) -> float:
    """CPU seconds of the watcher so far, once it watches."""
    deadline = time.monotonic() + 10
    while tuned:
        status = server.json("GET", "/associations/status")
        if status["listening"]:
            return float(status["cpu_seconds"])
        if time.monotonic() > deadline:
            raise OrthancError("the watcher did not find the DICOM server's socket")
        time.sleep(0.02)
    return 0.0


def measure(link: Link, tool: str, associations: int, *, tuned: bool, study: list[Path], folder: Path) -> Sample:
    """One cell.

    Raises:
        OrthancError: a server that does not start, a sender that fails, or an instance that is not there afterwards.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    configuration = base_configuration(place, bundle=tuned) | ({"DicomAssociations": {}} if tuned else {})
    try:
        with OrthancProcess(place, configuration, graceful=False) as server:
            watcher_before, before = watcher_cpu(server, tuned=tuned), usage(server)[0]
            seconds = send(tool, link, server, [study[first::associations] for first in range(associations)])
            cpu_seconds = usage(server)[0] - before
            watcher = watcher_cpu(server, tuned=tuned) - watcher_before
            held = server.json("GET", "/statistics")["CountInstances"]
            if held != len(study):
                raise OrthancError(f"{held} of {len(study)} instances are stored")
            return Sample(
                link.name,
                tool,
                associations,
                tuned,
                len(study) / seconds,
                cpu_seconds * 1000 / len(study),
                watcher / seconds * 100,
            )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def table(samples: list[Sample]) -> str:
    """Markdown, one row for each link, tool and number of associations."""
    groups: dict[tuple[str, str, int], dict[bool, list[Sample]]] = {}
    for one in samples:
        groups.setdefault((one.link, one.tool, one.associations), {}).setdefault(one.tuned, []).append(one)
    lines = [
        "| link | sender | at once | native, instances/s | tuned | ratio | server CPU ms/instance, native | tuned | watcher, % of a core |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (link, tool, associations), both in groups.items():
        native, tuned = both.get(False, []), both.get(True, [])
        if not native or not tuned:
            lines.append(f"| {link} | {tool} | {associations} | failed | | | | | |")
            continue
        rates = [statistics.median(one.per_second for one in side) for side in (native, tuned)]
        cpu = [statistics.median(one.cpu_ms_per_instance for one in side) for side in (native, tuned)]
        watcher = statistics.median(one.watcher_percent for one in tuned)
        lines.append(
            f"| {link} | {tool} | {associations} | {rates[0]:.0f} | {rates[1]:.0f} | {rates[1] / rates[0]:.2f} "
            f"| {cpu[0]:.1f} | {cpu[1]:.1f} | {watcher:.1f} |"
        )
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.associations", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--slices", type=int, default=phantom.SLICES)
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--associations", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--loopback-only", action="store_true", help="no veth pair, which takes root")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="where studies, servers and results go")
    return parser.parse_args()


def main() -> int:
    """Measures and prints; 1 if a cell failed."""
    arguments = parse()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    study = phantom.make_study(arguments.folder / "phantom", slices=arguments.slices)
    samples: list[Sample] = []
    failures: list[str] = []
    with contextlib.ExitStack() as stack:
        links = [LOOPBACK]
        if not arguments.loopback_only and can_make_namespaces():
            links.append(stack.enter_context(veth()))
        elif not arguments.loopback_only:
            console.print("not root: no veth pair, loopback only")
        cells = [
            cell
            for cell in itertools.product(
                range(arguments.rounds), links, arguments.tools, arguments.associations, (False, True)
            )
            if cell[2] != "HTTP"
            or cell[1] is LOOPBACK  # the yardstick; Orthanc's HTTP server listens on loopback only here
        ]
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = stack.enter_context(Progress(*columns, console=console))
        task = progress.add_task("bench", total=len(cells))
        for _, link, tool, associations, tuned in cells:
            name = f"{link.name}, {tool} x {associations}, {'tuned' if tuned else 'native'}"
            progress.update(task, description=name)
            try:
                samples.append(measure(link, tool, associations, tuned=tuned, study=study, folder=arguments.folder))
            except OrthancError as error:
                failures.append(f"{name}: {error}")
            progress.advance(task)
    size_mb = sum(path.stat().st_size for path in study) / 1e6
    heading = f"{len(study)} slices of a synthetic CT phantom, {size_mb:.0f} MB; medians of {arguments.rounds} rounds; {machine()}"
    report = f"{heading}\n\n{table(samples)}" + "".join(f"\nfailed: {line}" for line in failures)
    (arguments.folder / "associations.json").write_text(json.dumps([asdict(one) for one in samples], indent=1))
    (arguments.folder / "associations.md").write_text(report)
    console.print(report, markup=False, highlight=False, soft_wrap=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
