"""The command `python -m deferred_delete audit`."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..ledger.place import LEDGER_NAME, ledger_place
from .comparison import YOUNG_S, AuditError, Finding, Report, Walk, compare
from .next_start import NextStart
from .offline import stopped_index, stopped_ledger
from .quarantine import Quarantine, bring_back


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the parser of `python -m deferred_delete`."""
    audit = commands.add_parser(
        "audit", help="compare the storage with Orthanc's SQLite index and the ledger; Orthanc must not be running"
    )
    audit.add_argument("storage", type=Path, metavar="STORAGE", help="Orthanc's StorageDirectory")
    audit.add_argument("--index", type=Path, metavar="PATH", help="Orthanc's index (default: STORAGE/index)")
    audit.add_argument(
        "--ledger",
        type=Path,
        metavar="PATH",
        help=f"the ledger (default: {LEDGER_NAME} beside the index or in STORAGE)",
    )
    audit.add_argument("--json", action="store_true", help="one JSON line for each finding, and one for the totals")
    audit.add_argument(
        "--young",
        type=float,
        default=YOUNG_S,
        metavar="SECONDS",
        help=f"a file changed within this time is no orphan (default {YOUNG_S:g})",
    )
    audit.add_argument("--quarantine", type=Path, metavar="FOLDER", help="move orphans there, keeping the layout")
    audit.add_argument("--restore-from", type=Path, metavar="FOLDER", help="move a quarantine's files back, and end")
    audit.set_defaults(run=run)


def run(parsed: argparse.Namespace) -> int:
    """Returns 0 if everything fits, 1 if not. Raises DeferredDeleteError."""
    if not parsed.storage.is_dir():
        raise AuditError(f"there is no storage folder {parsed.storage}: expected Orthanc's StorageDirectory")
    out = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 1000)
    if parsed.restore_from is not None:
        out.print(
            f"{bring_back(parsed.storage, parsed.restore_from)} files moved back to {parsed.storage}", markup=False
        )
        return 0
    index_path = parsed.index or parsed.storage / "index"
    ledger = parsed.ledger or ledger_place(index_path.with_name(LEDGER_NAME), parsed.storage / LEDGER_NAME)
    if parsed.ledger is not None and not ledger.is_file():
        raise AuditError(f"there is no ledger {ledger}: expected a file such as {LEDGER_NAME}")
    with contextlib.ExitStack() as stack:
        pending = stack.enter_context(stopped_ledger(ledger if ledger.is_file() else None))
        index = stack.enter_context(stopped_index(index_path))
        next_start = NextStart(parsed.storage, index, pending.headers_within_s())
        quarantine = stack.enter_context(Quarantine(parsed.storage, parsed.quarantine)) if parsed.quarantine else None
        walk = Walk(parsed.storage, stack.enter_context(_progress()))

        def found(finding: Finding) -> None:
            if quarantine is not None and finding.kind == "orphan":
                quarantine.take(finding)
            _print(finding, as_json=parsed.json)

        report = compare(
            walk,
            index.attachments(),
            waits=pending.waits,
            look_again=next_start.look_again,
            found=found,
            young_s=parsed.young,
        )
    _summarise(out, report, quarantine, as_json=parsed.json)
    return 0 if report.clean else 1


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """A bar on the error stream, where that is a terminal."""
    console = Console(stderr=True)
    columns = (TextColumn("comparing"), BarColumn(), TextColumn("{task.percentage:.0f} %"), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("comparing", total=1.0)
        yield lambda done: progress.update(task, completed=done)


def _print(finding: Finding, *, as_json: bool) -> None:
    if as_json:
        line = msgspec.json.encode(finding).decode()
    else:
        line = f"{finding.kind}\t{finding.attachment_uuid}\tdisk {finding.disk_bytes}\tindex {finding.index_bytes}"
    sys.stdout.write(line + os.linesep)


def _summarise(out: Console, report: Report, quarantine: Quarantine | None, *, as_json: bool) -> None:
    numbers = {name: value for name, value in msgspec.to_builtins(report).items() if name != "findings"}
    if quarantine is not None:
        numbers["quarantined"] = quarantine.moved
    if as_json:
        sys.stdout.write(msgspec.json.encode(numbers).decode() + os.linesep)
        return
    table = Table("what", "count")
    for name, value in numbers.items():
        table.add_row(name.replace("_", " "), str(value))
    out.print(table)
