"""`python -m plugin check`: checks a configuration of Orthanc with the code that runs when Orthanc starts.

It needs no Orthanc, and changes nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from deferred_delete import DeferredDeleteError
from support.one_line import one_line

from ..config import SECTIONS, Configuration, parse
from ..validation import ConfigurationError
from . import advice
from .orthanc_files import read
from .rehearsal import Rehearsal, rehearse

FINE, WARNED, REFUSED = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints what it finds; returns 0 (fine), 1 (with warnings) or 2 (Orthanc would not start, or not with this)."""
    parser = argparse.ArgumentParser(prog="python -m plugin", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "check",
        help="status 0: fine, 1: with warnings, 2: refused",
        description="Status 0: fine, 1: with warnings, 2: refused.",
    )
    command.add_argument(
        "path", type=Path, metavar="FILE-OR-FOLDER", help="orthanc.json, or a folder such as /etc/orthanc"
    )
    path: Path = parser.parse_args(arguments).path
    # The log lines of the start would only repeat what is printed here.
    logging.getLogger("plugin").addHandler(logging.NullHandler())
    try:
        files = read(path, os.environ)
        configuration = parse(json.dumps(files.document), files.folder)
        _refuse_missing_script(configuration)
        lines = _summary(configuration, rehearse(configuration))
    except (ConfigurationError, DeferredDeleteError, OSError, RuntimeError) as error:
        print(f"refused: {one_line(error)}")  # noqa: T201 - this is a command
        return REFUSED
    warnings = [*files.remarks, *(line for look in advice.WARNINGS for line in look(configuration))]
    for line in [*lines, *(f"warning: {line}" for line in warnings)]:
        print(line)  # noqa: T201
    print(f"{len(warnings)} warnings" if warnings else "fine")  # noqa: T201
    return WARNED if warnings else FINE


def _refuse_missing_script(configuration: Configuration) -> None:
    named = configuration.document.get("PythonScript")
    if isinstance(named, str) and Path(named).is_absolute() and not Path(named).is_file():
        raise ConfigurationError(f"PythonScript: {named}: no such file: Orthanc would not start")


def _summary(configuration: Configuration, rehearsal: Rehearsal) -> list[str]:
    """Sections, folders, callbacks and routes, one a line."""
    off = [name for name in SECTIONS if name not in configuration.enabled]
    lines = [
        f"sections on: {', '.join(configuration.enabled) or 'none'}" + (f"; off: {', '.join(off)}" if off else ""),
        f"storage: {configuration.storage_root}",
    ]
    if configuration.deferred_delete is not None:
        found = ", found there" if configuration.keeps_ledger_elsewhere else ""
        lines.append(
            f"ledger: {configuration.ledger_path}{found}, grace period {configuration.deferred_delete.grace_period:g} s"
        )
    callbacks = [name for name in dict.fromkeys(rehearsal.callbacks) if name != "RegisterRestCallback"]
    lines.append(f"callbacks: {', '.join(callbacks) or 'none'}")
    return [*lines, f"routes: {len(rehearsal.routes)}", *(f"  {route}" for route in rehearsal.routes)]
