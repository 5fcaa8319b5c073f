"""`make bench`: ingest and deletion of one study, native Orthanc beside the bundle.

Every cell is a fresh Orthanc on an empty storage folder: the study is sent in one way and deleted by one DELETE. The
rows of a column take turns, so that other load on the machine affects all of them. After Ctrl-C the same command goes
on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import urllib3
from pydicom.misc import is_dicom
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from harness import phantom
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration, executable

from . import charts, report, slow_disk
from .machine import machine, usage
from .results import Cell, Results, Run, Sample
from .tables import QUICK, TABLES, Table
from .variants import VARIANTS

WARM_UP = 10
QUICK_SLICES = 120


def measure(cell: Cell, table: Table, study: list[Path], folder: Path) -> Sample:
    """Measures one cell.

    Raises:
        OrthancError: a server that does not start, a sender that fails, or an instance that is not there afterwards.
    """
    variant, way = VARIANTS[cell.row], table.columns[cell.column]()
    place = Path(tempfile.mkdtemp(dir=folder))
    configuration = base_configuration(place, bundle=variant.bundle) | variant.options | way.configuration()
    try:
        with OrthancProcess(place, configuration, environment=variant.environment, graceful=False) as server:
            try:
                way.prepare(server, study)
                cpu_before, began = usage(server)[0], time.monotonic()
                way.send(server, study)
                seconds = time.monotonic() - began
                arrived = way.arrived(server)
                if arrived != len(study):
                    raise OrthancError(f"{arrived} of {len(study)} instances arrived")
                return finish(cell, server, study, seconds, cpu_before, delete=table.deletes)
            finally:
                way.close()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def finish(
    cell: Cell, server: OrthancProcess, study: list[Path], seconds: float, cpu_before: float, *, delete: bool
) -> Sample:
    """The other figures of a server that has stored the study: memory, disk, stages, DELETE."""
    server.wait_until_written()  # costs CPU, and no time of the sender
    cpu_seconds, peak_mb = usage(server)
    disk_mb = int(server.json("GET", "/statistics")["TotalDiskSize"]) / 1e6
    stages = stage_shares(server) if "StageTiming" in server.configuration else {}
    delete_ms = 0.0
    if delete:
        (study_id,) = server.json("GET", "/studies")
        began = time.monotonic()
        server.json("DELETE", f"/studies/{study_id}")
        delete_ms = (time.monotonic() - began) * 1000
    return Sample(
        cell=cell,
        instances=len(study),
        megabytes=sum(path.stat().st_size for path in study) / 1e6,
        seconds=seconds,
        delete_ms=delete_ms,
        disk_mb=disk_mb,
        cpu_seconds=cpu_seconds - cpu_before,
        peak_mb=peak_mb,
        stages=stages,
    )


def stage_shares(server: OrthancProcess) -> dict[str, dict[str, float]]:
    """The share of each stage by protocol, from the bundle's stage timing."""
    snapshot: dict[str, Any] = server.json("GET", "/timing/stages")
    return {
        protocol["protocol"]: {one["stage"]: one["share"] for one in protocol["stages"] if one["stage"] != "total"}
        for protocol in snapshot["protocols"]
        if protocol["instances"]
    }


def warm_up(study: list[Path], folder: Path) -> None:
    """Stores a few instances in each kind of server, so that the system has cached libraries and files."""
    for row in ("native", "bundle"):
        with contextlib.suppress(OrthancError):
            measure(Cell("", row, "1 clients", 0), TABLES["http"], study[:WARM_UP], folder)


def cells_of(tables: Mapping[str, Table], rounds: int, rows: list[str] | None, columns: list[str] | None) -> list[Cell]:
    """All cells: rounds outermost, the rows of one column together; None stands for every row or column."""
    return [
        Cell(name, row, column, number)
        for number, (name, table) in itertools.product(range(rounds), tables.items())
        for column in table.columns
        for row in table.rows
        if (rows is None or row in rows) and (columns is None or column in columns) and not VARIANTS[row].missing
    ]


def left_out(tables: Mapping[str, Table], rows: list[str] | None) -> str:
    """Which rows cannot be measured here, and why, a line each."""
    wanted = dict.fromkeys(row for table in tables.values() for row in table.rows if rows is None or row in rows)
    return "".join(f"Not measured: {row}: {VARIANTS[row].missing}.\n\n" for row in wanted if VARIANTS[row].missing)


def run(
    results: Results, cells: list[Cell], tables: Mapping[str, Table], study: list[Path], places: Mapping[str, Path]
) -> None:
    """Measures the cells that have no result yet; Ctrl-C ends it early."""
    missing = [cell for cell in cells if cell not in results.done]
    if len(missing) < len(cells):
        print(f"{len(cells) - len(missing)} of {len(cells)} cells are known from before (--fresh measures them again)")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress, contextlib.suppress(KeyboardInterrupt):
        task = progress.add_task("warming up", total=len(missing))
        if missing:
            warm_up(study, places["own"])
        for cell in missing:
            progress.update(task, description=f"round {cell.round + 1}: {cell.table}, {cell.column}, {cell.row}")
            try:
                results.add(measure(cell, tables[cell.table], study, places[tables[cell.table].disk]))
            except (OrthancError, urllib3.exceptions.HTTPError, OSError, LookupError, ValueError) as error:
                # HTTPError where a server ends: GDCM sometimes overflows the stack of Orthanc's HTTP threads.
                results.add(Sample(cell=cell, error=" ".join(str(error).split()) or type(error).__name__))
            progress.advance(task)
        return
    print("interrupted: what was measured is kept, and the same command goes on there")


@contextlib.contextmanager
def disks(folder: Path, tables: Mapping[str, Table]) -> Iterator[dict[str, Path]]:
    """The storage folder of each disk by its name; without the slow one where it cannot be mounted."""
    if not any(table.disk == "slow" for table in tables.values()):
        yield {"own": folder}
        return
    with contextlib.ExitStack() as stack:
        try:
            slow = stack.enter_context(slow_disk.slow_disk(folder))
            slow_disk.make_slow(slow, slow=True)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"no slow disk: {error}", file=sys.stderr)
            yield {"own": folder}
            return
        yield {"own": folder, "slow": slow}


def study_of(arguments: argparse.Namespace) -> tuple[list[Path], str]:
    """The study's files, and a description of them.

    Raises:
        OrthancError: no DICOM file in the folder that was given.
    """
    if arguments.study is None:
        slices = arguments.slices or (QUICK_SLICES if arguments.quick else phantom.SLICES)
        study = phantom.make_study(arguments.folder / "phantom", slices=slices)
        name = "a synthetic CT phantom"
    else:
        study = sorted(path for path in arguments.study.rglob("*") if path.is_file() and is_dicom(path))
        name = f"the study in {arguments.study.name}"
        if not study:
            raise OrthancError(f"{arguments.study}: expected a folder with DICOM files")
    return study, f"{len(study)} instances of {name}, {sum(path.stat().st_size for path in study) / 1e6:.0f} MB"


def parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench ingest", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--slices", type=int, help=f"of the phantom; {phantom.SLICES} by default, {QUICK_SLICES} with --quick"
    )
    parser.add_argument("--study", type=Path, help="a folder with one study of your own instead of the phantom")
    parser.add_argument("--tables", nargs="+", choices=list(TABLES), help="some of the tables")
    parser.add_argument("--rows", nargs="+", choices=list(VARIANTS), metavar="ROW", help="some of the servers")
    parser.add_argument("--columns", nargs="+", metavar="COLUMN", help='some of the columns, such as "4 clients"')
    parser.add_argument("--quick", action="store_true", help="one round of little, in less than three minutes")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run of the same kind measured")
    parser.add_argument("--folder", type=Path, default=Path("var/bench"), help="where all goes; its disk is measured")
    return parser.parse_args()


def main() -> int:
    """Measures, prints and writes; 1 if a cell failed, 2 if nothing could be begun."""
    arguments = parse()
    tables = QUICK if arguments.quick else TABLES
    if arguments.tables:
        tables = {name: tables[name] for name in arguments.tables if name in tables}
    rounds = 1 if arguments.quick else arguments.rounds
    arguments.folder.mkdir(parents=True, exist_ok=True)
    try:
        study, description = study_of(arguments)
        version = subprocess.run(
            [executable(), "--version"], capture_output=True, text=True, check=False
        ).stdout.split()
    except OrthancError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    name = "ingest-quick" if arguments.quick else "ingest"
    results = Results(
        arguments.folder / f"{name}.jsonl",
        Run(machine(), version[1] if len(version) > 1 else "?", description),
        fresh=arguments.fresh,
    )
    with disks(arguments.folder, tables) as places:
        known = "; ".join(f"{disk} disk: {slow_disk.latencies(place)}" for disk, place in places.items())
        run(results, cells_of(tables, rounds, arguments.rows, arguments.columns), tables, study, places)
    text = f"{known}.\n\n{left_out(tables, arguments.rows)}{report.markdown(results, tables)}"
    (arguments.folder / f"{name}.md").write_text(text)
    print(text)
    for path in charts.draw(results, tables, arguments.folder):
        print(path)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
