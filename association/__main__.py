"""Command line: `python -m association probe HOST PORT`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from . import part10, probe
from .peer import ProbeError


def main(arguments: list[str] | None = None) -> int:
    """Runs one command.

    Returns:
        0: measured, nothing stalls. 1: could not be measured, one line on standard error says why. 2: wrong arguments
            (argparse).
        3: measured, and something stalls.
    """
    parsed = _parser().parse_args(arguments)
    console, errors = Console(), Console(stderr=True, highlight=False)
    target = probe.Target(
        host=parsed.host, port=parsed.port, calling=parsed.calling, called=parsed.called, timeout_s=parsed.timeout
    )
    try:
        instance = part10.read(parsed.store) if parsed.store else None
        with errors.status("connecting") as spinner:
            report = probe.run(target, parsed.count, instance, spinner.update)
    except (ProbeError, ValueError, OSError) as error:
        errors.print(f"association probe: {error}", markup=False, soft_wrap=True)
        return 1
    if parsed.json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    else:
        _show(console, report)
    return 3 if report.response_stalls or report.data_set_end_stalls else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m association", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("probe", help="does a DICOM peer stall its responses, or the end of data sets?")
    one.add_argument("host", help="name or address, IPv4 or IPv6")
    one.add_argument("port", type=_port, help="TCP port of its DICOM server")
    one.add_argument("--calling", default=probe.CALLING_AE_TITLE, help="our AE title (default %(default)s)")
    one.add_argument("--called", default="ANY-SCP", help="the peer's AE title (default %(default)s)")
    one.add_argument(
        "--count",
        type=int,
        default=20,
        help=f"C-ECHOs in each association, 1 to {probe.MAX_COUNT} (default %(default)s)",
    )
    one.add_argument(
        "--store",
        type=Path,
        metavar="FILE",
        help=f"also send FILE, --count times but at most {probe.MAX_STORE_COUNT}, in each of two associations; the "
        "peer keeps it",
    )
    one.add_argument("--timeout", type=float, default=10.0, help="seconds for each answer (default %(default)s)")
    one.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a TCP port, 1 to 65535")
    return int(text)


def _show(console: Console, report: probe.Report) -> None:
    table = Table(title=f"DICOM peer {report.peer}: round trips in ms")
    for column in ("", "count", "p50", "min", "max", "stalled"):
        table.add_column(column, justify="left" if not column else "right")
    rows = {
        "C-ECHO, our acknowledgements delayed (the default)": report.echo_delayed,
        "C-ECHO, our acknowledgements at once": report.echo_quick,
        "C-STORE as DCMTK sends (Nagle on)": report.store_nagle,
        "C-STORE with TCP_NODELAY": report.store_no_delay,
    }
    for name, one in rows.items():
        if one is not None:
            table.add_row(
                name, str(one.count), f"{one.p50_ms:.1f}", f"{one.min_ms:.1f}", f"{one.max_ms:.1f}", str(one.stalled)
            )
    console.print(table)
    for finding in report.findings:
        console.print(finding, highlight=False)


if __name__ == "__main__":
    sys.exit(main())
