"""`make bench-associations`: C-STORE with the bundle's DicomAssociations against native Orthanc.

Every cell is a fresh Orthanc on an empty storage folder. Native and tuned servers take turns, so that other load on the
machine affects both. Senders run as their authors ship them: variables are set for them only in the table of variables.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness import phantom
from harness.orthanc_process import OrthancError

from . import beside, moves, variations
from .cells import Sample, measure
from .links import LOOPBACK, Link, can_make_namespaces, veth
from .machine import machine
from .variations import Variation

TABLES = ("senders", "moves", "beside", "buffers", "tls")
VARIED_SLICES = 100  # for the tables of variations, whose effects show within a hundred slices
TOOLS = ("storescu", "dcmsend", "pynetdicom", "HTTP")


def table(samples: list[Sample]) -> str:
    """The Markdown table with a row for each link, tool and number of associations."""
    groups: dict[tuple[str, str, int], dict[bool, list[Sample]]] = {}
    for one in samples:
        groups.setdefault((one.link, one.tool, one.associations), {}).setdefault(one.tuned, []).append(one)
    lines = [
        "| link | sender | at once | native, instances/s | tuned | ratio | server CPU ms/instance, native | tuned "
        "| senders' CPU, native | tuned | watcher, % of a core |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for (link, tool, associations), both in groups.items():
        native, tuned = both.get(False, []), both.get(True, [])
        if not native or not tuned:
            lines.append(f"| {link} | {tool} | {associations} | failed | | | | | | | |")
            continue
        rates = [statistics.median(one.per_second for one in side) for side in (native, tuned)]
        cpu = [statistics.median(one.cpu_ms_per_instance for one in side) for side in (native, tuned)]
        theirs = [statistics.median(one.sender_cpu_ms_per_instance for one in side) for side in (native, tuned)]
        watcher = statistics.median(one.watcher_percent for one in tuned)
        lines.append(
            f"| {link} | {tool} | {associations} | {rates[0]:.0f} | {rates[1]:.0f} | {rates[1] / rates[0]:.2f} "
            f"| {cpu[0]:.1f} | {cpu[1]:.1f} | {theirs[0]:.1f} | {theirs[1]:.1f} | {watcher:.1f} |"
        )
    return "\n".join(lines) + "\n"


def varied_table(samples: list[Sample]) -> str:
    """The Markdown table with a row for each variation, and two columns (native, tuned) for each link."""
    links = list(dict.fromkeys(one.link for one in samples))
    heads = [f"{link}: {kind}" for link in links for kind in ("native", "tuned")]
    lines = [f"| storescu x1, instances/s | {' | '.join(heads)} |", "|---" + "|--:" * len(heads) + "|"]
    for name in dict.fromkeys(one.variation for one in samples):
        cells = []
        for link, tuned in itertools.product(links, (False, True)):
            own = [one.per_second for one in samples if (one.variation, one.link, one.tuned) == (name, link, tuned)]
            cells.append(f"{statistics.median(own):.0f}" if own else "failed")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench associations", description=__doc__)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--slices", type=int, default=phantom.SLICES)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS))
    parser.add_argument("--associations", nargs="+", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--loopback-only", action="store_true", help="no veth pair, which takes root")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="where studies, servers and results go")
    return parser.parse_args()


@dataclass(frozen=True)
class Cell:
    """One measurement to be made; `call` gives its results."""

    table: str
    name: str
    call: Callable[[], Sample | beside.Beside | list[moves.Move]]


def plan(arguments: argparse.Namespace, links: list[Link], study: list[Path]) -> list[Cell]:
    """All cells of all rounds, native and tuned in turns."""
    folder, few = arguments.folder, study[:VARIED_SLICES]
    cells: list[Cell] = []

    def add(kind: str, sender: tuple[Link, str, int], slices: list[Path], variation: Variation) -> None:
        for tuned in (False, True):
            words = [f"{sender[1]} x {sender[2]}", sender[0].name, "tuned" if tuned else "native", variation.name]
            call = partial(measure, *sender, tuned=tuned, study=slices, folder=folder, variation=variation)
            cells.append(Cell(kind, ", ".join(filter(None, words)), call))

    varied = [("buffers", one) for one in variations.buffers()] if "buffers" in arguments.tables else []
    varied += [("tls", one) for one in variations.tls(folder / "tls")] if "tls" in arguments.tables else []
    for _ in range(arguments.rounds):
        if "senders" in arguments.tables:
            for link, tool, count in itertools.product(links, arguments.tools, arguments.associations):
                # HTTP is measured for comparison. Orthanc's HTTP server listens on loopback only here.
                if tool != "HTTP" or link is LOOPBACK:
                    add("senders", (link, tool, count), study, Variation())
        if "moves" in arguments.tables:
            cells.extend(
                Cell("moves", f"Orthanc to Orthanc, {ends}", partial(moves.measure, study, folder, ends))
                for ends in moves.ENDS
            )
        if "beside" in arguments.tables:
            for clients, tuned, busy in itertools.product((1, 4), (False, True), (False, True)):
                call = partial(beside.measure, study, folder, clients, tuned=tuned, busy=busy)
                cells.append(Cell("beside", f"HTTP x {clients} beside an association", call))
        for (kind, variation), link in itertools.product(varied, links):
            add(kind, (link, "storescu", 1), few, variation)
    return cells


def main() -> int:
    """Measures and prints; 1 if a cell failed."""
    arguments = parse()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    console = Console()
    study = phantom.make_study(arguments.folder / "phantom", slices=arguments.slices)
    results: dict[str, list[Any]] = {name: [] for name in TABLES if name in arguments.tables}
    failures: list[str] = []
    with contextlib.ExitStack() as stack:
        links = [LOOPBACK]
        if not arguments.loopback_only and can_make_namespaces():
            links.append(stack.enter_context(veth()))
        elif not arguments.loopback_only:
            console.print("not root: no veth pair, loopback only")
        cells = plan(arguments, links, study)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = stack.enter_context(Progress(*columns, console=console))
        task = progress.add_task("bench", total=len(cells))
        for cell in cells:
            progress.update(task, description=cell.name)
            try:
                found = cell.call()
                results[cell.table] += found if isinstance(found, list) else [found]
            except OrthancError as error:
                failures.append(f"{cell.name}: {error}")
            progress.advance(task)
    size_mb = sum(path.stat().st_size for path in study) / 1e6
    heading = (
        f"{len(study)} slices of a synthetic CT phantom, {size_mb:.0f} MB; medians of {arguments.rounds} rounds; "
        f"{machine()}"
    )
    report = "\n".join([heading, "", *(_show(name, found) for name, found in results.items())])
    report += "".join(f"\nfailed: {line}" for line in failures)
    raw = {name: [asdict(one) for one in found] for name, found in results.items()}
    (arguments.folder / "associations.json").write_text(json.dumps(raw, indent=1))
    (arguments.folder / "associations.md").write_text(report)
    console.print(report, markup=False, highlight=False, soft_wrap=True)
    return 1 if failures else 0


def _show(name: str, found: list[Any]) -> str:
    if not found:
        return f"{name}: nothing measured\n"
    if name == "moves":
        return moves.table(found)
    if name == "beside":
        return beside.table(found)
    return table(found) if name == "senders" else varied_table(found)


if __name__ == "__main__":
    sys.exit(main())
