"""The ledger from the command line: show it, list it, drain it without Orthanc, and audit the storage."""

import argparse
import contextlib
import datetime
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import sqlite_utils
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from .audit import command as audit_command
from .errors import DeferredDeleteError, LedgerError
from .journal.record import Record
from .ledger import queries
from .ledger.ledger import Ledger
from .ledger.unmoved import unmoved
from .settings import Settings
from .storage.file_storage import FileStorage
from .worker.counters import Counters
from .worker.drainer import Drainer

# Into a pipe or a file nothing is folded: a UUID in two halves is no use to grep.
_OUT = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 1000)
_ERR = Console(stderr=True, soft_wrap=True, highlight=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, 1 (not all could be deleted) or 2 (refused, with one line why)."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except DeferredDeleteError as error:
        _ERR.print(f"deferred_delete: {error}", markup=False)
        return 2
    except KeyboardInterrupt:
        _ERR.print("deferred_delete: interrupted; nothing is lost, the rest waits in the ledger")
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m deferred_delete", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    status = commands.add_parser("status", help="how many deletions wait, also while Orthanc runs")
    status.set_defaults(run=_status)
    listing = commands.add_parser("list", help="the deletions that wait, oldest first")
    listing.add_argument("--failed", action="store_true", help="only those whose last attempt failed")
    listing.add_argument("--limit", type=int, default=1000, metavar="N", help="at most so many (default 1000)")
    listing.set_defaults(run=_list)
    drain = commands.add_parser("drain", help="delete everything that waits; Orthanc must not be running")
    drain.add_argument("--storage", type=Path, required=True, metavar="ROOT", help="Orthanc's StorageDirectory")
    drain.add_argument("--due", action="store_true", help="only what is due: leave the grace period and retries alone")
    drain.add_argument(
        "--unchecked", action="store_true", help="also after a power cut, without asking Orthanc's index"
    )
    drain.set_defaults(run=_drain)
    for command in (status, listing, drain):
        command.add_argument("ledger", type=Path, metavar="LEDGER")
    audit_command.add_to(commands)
    return parser


@contextlib.contextmanager
def _read_only(path: Path) -> Iterator[sqlite_utils.Database]:
    """Opens a ledger read-only, beside a running Orthanc."""
    if not path.is_file():
        raise LedgerError(f"there is no ledger {path}: expected a file such as deferred-deletions.db")
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)
        with contextlib.closing(connection):
            yield sqlite_utils.Database(connection)
    except sqlite3.Error as error:
        raise LedgerError(f"cannot read the ledger {path}: {error}; expected a sound ledger") from error


def _status(parsed: argparse.Namespace) -> int:
    with _read_only(parsed.ledger) as ledger:
        records = _unmoved(parsed.ledger, ledger)
        (counts,) = ledger.query(queries.COUNTS)
        oldest = next((row["enqueued_at"] for row in ledger.query(queries.OLDEST)), None)
        facts = _facts(ledger)
    counts["pending"] += len(records)
    if oldest is None and records:
        oldest = records[0].requested_at_ms
    table = Table("pending", "claimed", "failed", "oldest", "paused")
    age = "-" if oldest is None else _time(oldest)
    table.add_row(*(str(counts[name]) for name in counts), age, "yes" if facts["paused"] == "1" else "no")
    _OUT.print(table)
    return 0


def _list(parsed: argparse.Namespace) -> int:
    with _read_only(parsed.ledger) as ledger:
        records = [] if parsed.failed else _unmoved(parsed.ledger, ledger)
        rows = list(ledger.query(queries.LIST_FAILED if parsed.failed else queries.LIST, [0, parsed.limit]))
    table = Table("attachment", "type", "state", "enqueued", "next attempt", "attempts", "last error")
    for row in rows:
        table.add_row(
            row["attachment_uuid"],
            str(row["content_type"]),
            row["state"],
            _time(row["enqueued_at"]),
            _time(row["next_attempt_at"]),
            str(row["attempts"]),
            row["last_error"] or "",
        )
    for record in records[: parsed.limit - len(rows)]:
        at = _time(record.requested_at_ms)
        table.add_row(record.attachment_uuid, str(record.content_type), "in the journal", at, "-", "0", "")
    _OUT.print(table)
    return 0


def _unmoved(path: Path, ledger: sqlite_utils.Database) -> list[Record]:
    """What is in the journal only, at the moment that everything read from the ledger from now on is of."""
    # The journal first: what is moved meanwhile, and its segment removed, is then in the ledger.
    records = list(unmoved(path, _facts(ledger)))
    ledger.execute("BEGIN")
    position = int(_facts(ledger).get(queries.JOURNAL_POSITION, 0))
    return [record for record in records if record.sequence >= position]


def _facts(ledger: sqlite_utils.Database) -> dict[str, str]:
    return {row["name"]: row["value"] for row in ledger.query(queries.FACTS)}


def _drain(parsed: argparse.Namespace) -> int:
    if not parsed.ledger.is_file() or not parsed.storage.is_dir():  # neither is made here, by mistake, as empty ones
        raise LedgerError(f"expected the ledger {parsed.ledger} and the storage folder {parsed.storage} to be there")
    with Ledger(parsed.ledger) as ledger:
        if ledger.power_loss.suspected and not parsed.unchecked:
            raise LedgerError(
                "the machine went down while Orthanc ran, and Orthanc may know some of these attachments again: "
                "start Orthanc once, which sorts them out, or say --unchecked"
            )
        _drain_with_progress(ledger, FileStorage(parsed.storage, sync=False), due_only=parsed.due)
        left, held = ledger.counts(), ledger.restores.files_held()
    _OUT.print(f"{left.total} left, {left.failed} of them failed", highlight=False)
    if held:
        _OUT.print(f"{held} held by a restore: start Orthanc to finish or release it", highlight=False)
    return 1 if left.failed or held else 0


def _drain_with_progress(ledger: Ledger, storage: FileStorage, *, due_only: bool) -> None:
    start_ms = ledger.clock.now_ms()
    while not due_only and ledger.hasten(start_ms):
        pass
    columns = (TextColumn("deleting"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Orthanc is not running: no index lock waits for us, so batches can be large.
    drainer = Drainer(ledger, storage, Settings(batch_size=1000), Counters())
    with Progress(*columns, console=_OUT) as progress:
        task = progress.add_task("deleting", total=ledger.counts().total)
        # Due at start_ms and no later: a file that fails now is not tried for ever.
        while (outcome := drainer.run_once(start_ms)).claimed:
            progress.advance(task, outcome.deleted + outcome.missing)


def _time(unix_ms: int) -> str:
    return datetime.datetime.fromtimestamp(unix_ms / 1000, datetime.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


if __name__ == "__main__":
    sys.exit(main())
