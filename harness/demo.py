"""`make run`: a real Orthanc with the bundle stores, transcodes and deletes studies, and shows what it does."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from .demo_steps import GRACE_PERIOD_S, StepFailedError, console, job, say
from .free_ports import port_is_free
from .orthanc_process import BUNDLE, OrthancError, OrthancProcess


def make_configuration(arguments: argparse.Namespace) -> dict[str, Any]:
    """The repository's orthanc.json with this run's ports and storage, and a grace period short enough to watch.

    Raises:
        OrthancError: a port is taken.
    """
    configuration: dict[str, Any] = json.loads((BUNDLE / "orthanc.json").read_text())
    for name, port, variable in (
        ("HTTP", arguments.http_port, "HTTP_PORT"),
        ("DICOM", arguments.dicom_port, "DICOM_PORT"),
    ):
        if not port_is_free(port):
            raise OrthancError(
                f"{name} port {port} is in use (by an Orthanc service?): stop it, or give another: make run "
                f"{variable}={port + 1}"
            )
    configuration |= {
        "HttpPort": arguments.http_port,
        "DicomPort": arguments.dicom_port,
        "StorageDirectory": str(Path(arguments.storage).absolute()),
        "PythonScript": str(BUNDLE / "plugin" / "main.py"),
    }
    configuration["DeferredDelete"] |= {"GracePeriod": GRACE_PERIOD_S}
    return configuration


def serve(server: OrthancProcess) -> int:
    """Keeps the server until Ctrl-C or its end."""
    say(
        f"\nOrthanc keeps serving: {server.url}/app/explorer.html, operators' page {server.url}/bundle/, DICOM port "
        f"{server.dicom_port}"
    )
    say("Ctrl-C ends it.")
    with contextlib.suppress(KeyboardInterrupt):
        while server.running:
            time.sleep(0.5)
    if server.running:
        say("\nstopping")
        return 0
    say(f"Orthanc has ended by itself: {server.first_error()}")
    return 1


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m harness.demo", description=__doc__)
    parser.add_argument("--http-port", type=int, default=8042)
    parser.add_argument("--dicom-port", type=int, default=4242)
    parser.add_argument("--storage", default=str(BUNDLE / "var" / "run" / "storage"))
    return parser.parse_args()


def main() -> int:
    """Runs the demonstration; 0 when every step did what it says."""
    # pydicom warns about the broken files of its wheel.
    warnings.simplefilter("ignore")
    # `make` in the background, `timeout` and init systems send SIGTERM: the server must end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        server = OrthancProcess(BUNDLE / "var" / "run", make_configuration(parse_arguments()))
        with server:
            say(
                f"Orthanc {server.json('GET', '/system')['Version']} with the bundle on {server.url}, log "
                f"{server.log_path}"
            )
            job(server)
            if not os.environ.get("RUN_ONCE"):
                return serve(server)
            say(f"\nDone. The operators' page was at {server.url}/bundle/")
    except (OrthancError, StepFailedError) as error:
        console.print(f"[red]failed:[/] {error}", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        say("\nstopped")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
