"""`python -m timing`: where the time of each instance went, from Orthanc's log or from GET /timing/slowest."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from .logs import LogReport, read_logs
from .logs.page import html_page, svg_file
from .logs.text import render
from .logs.watch import follow_logs
from .pictures.live import NotSlowestError, slowest_page, slowest_svg, timelines_of

EXIT_STATUS = """exit status:
  0  there were instances, and they are reported
  1  the log, or the answer, holds no stored instance
  2  a file cannot be read or written, or the command line is wrong
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "read" and options.follow and options.logs[-1] == "-":
        parser.error("--follow needs a file; standard input is read to its end anyway")
    try:
        return _waterfall(options) if options.command == "waterfall" else _read(options)
    except BrokenPipeError:
        sys.stdout = None  # who read our output, such as `head`, has seen enough
        return 0
    except NotSlowestError as error:
        sys.stderr.write(f"timing: {options.slowest} is no answer of GET /timing/slowest: {error}\n")
    except OSError as error:
        sys.stderr.write(f"timing: cannot read or write {error.filename}: {error.strerror}\n")
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m timing", description="Stage timing of Orthanc.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command")
    shape = argparse.RawDescriptionHelpFormatter
    read = commands.add_parser(
        "read",
        help="tell from Orthanc's log where the time of each instance went",
        epilog=EXIT_STATUS,
        formatter_class=shape,
    )
    read.add_argument(
        "logs",
        nargs="+",
        metavar="LOG",
        help="a log written with --verbose or --trace, compressed (gzip, xz, bzip2) or not; several are put in the "
        "order of time; '-' is standard input",
    )
    read.add_argument("--follow", action="store_true", help="go on reading what is added to the last LOG, until Ctrl-C")
    read.add_argument("--json", action="store_true", help="print JSON")
    waterfall = commands.add_parser(
        "waterfall", help="draw the answer of GET /timing/slowest", epilog=EXIT_STATUS, formatter_class=shape
    )
    waterfall.add_argument(
        "slowest", metavar="SLOWEST.json", help="the answer of GET /timing/slowest; '-' is standard input"
    )
    for command in (read, waterfall):
        command.add_argument("--html", metavar="FILE", type=Path, help="write a page that needs nothing but itself")
        command.add_argument("--svg", metavar="FILE", type=Path, help="write the waterfalls alone")
    waterfall.add_argument("-o", metavar="FILE", type=Path, dest="output", help="--html or --svg, by FILE's ending")
    return parser


def _read(options: argparse.Namespace) -> int:
    report = follow_logs(options.logs, Console()).report() if options.follow else _report(options.logs)
    if options.html:
        options.html.write_text(html_page(report, [Path(name).name for name in options.logs]), encoding="utf-8")
    if options.svg:
        options.svg.write_text(svg_file(report), encoding="utf-8")
    if options.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    elif options.follow or not (options.html or options.svg):
        Console(width=None if sys.stdout.isatty() else 80).print(render(report))
    return 0 if any(protocol.instances for protocol in report.protocols) else 1


def _waterfall(options: argparse.Namespace) -> int:
    document = sys.stdin.buffer.read() if options.slowest == "-" else Path(options.slowest).read_bytes()
    timelines = timelines_of(document)
    if options.output:
        setattr(options, "svg" if options.output.suffix == ".svg" else "html", options.output)
    if options.svg:
        options.svg.write_text(slowest_svg(timelines), encoding="utf-8")
    if options.html:
        options.html.write_text(slowest_page(timelines), encoding="utf-8")
    if not (options.html or options.svg):
        sys.stdout.write(slowest_page(timelines))
    return 0 if timelines else 1


def _report(names: Sequence[str]) -> LogReport:
    """Read the logs, with a progress bar on a terminal."""
    if not sys.stderr.isatty():
        return read_logs(names)
    sizes = {name: Path(name).stat().st_size for name in names if name != "-"}
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        tasks = {name: progress.add_task(Path(name).name, total=size) for name, size in sizes.items()}
        return read_logs(names, lambda name, count: progress.update(tasks[name], completed=count))


if __name__ == "__main__":
    sys.exit(main())
