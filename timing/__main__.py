"""`python -m timing read LOG...`: where the time of each instance went, from Orthanc's own log."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress

from .logs import LogReport, read_logs
from .logs.text import render


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        report = _read(options.logs)
    except OSError as error:
        sys.stderr.write(f"timing: cannot read {error.filename}: {error.strerror}\n")
        return 2
    if options.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    else:
        Console(width=None if sys.stdout.isatty() else 80).print(render(report))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m timing", description="Stage timing of Orthanc.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    read = commands.add_parser("read", help="tell from Orthanc's log where the time of each instance went")
    read.add_argument(
        "logs",
        nargs="+",
        metavar="LOG",
        help="a log written with --verbose or --trace, gzipped or not; '-' is standard input",
    )
    read.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _read(names: Sequence[str]) -> LogReport:
    """Read the logs, with a progress bar where someone looks on."""
    if not sys.stderr.isatty():
        return read_logs(names)
    sizes = {name: Path(name).stat().st_size for name in names if name != "-"}
    with Progress(console=Console(stderr=True), transient=True) as progress:
        tasks = {name: progress.add_task(Path(name).name, total=size) for name, size in sizes.items()}
        return read_logs(names, lambda name, count: progress.update(tasks[name], completed=count))


if __name__ == "__main__":
    sys.exit(main())
