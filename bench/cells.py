"""Measures one cell of the association benchmark: unmodified senders and a fresh Orthanc, native or tuned."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

from .links import Link
from .machine import usage
from .variations import Variation

CELL_DEADLINE_S = 300.0


@dataclass(frozen=True)
class Sample:
    """The result of one cell in one round."""

    link: str
    tool: str
    associations: int
    tuned: bool
    per_second: float
    cpu_ms_per_instance: float  # of the whole server
    watcher_percent: float  # of one core, while sending
    sender_cpu_ms_per_instance: (
        float  # of all senders, their start included; 0 for HTTP, whose clients are threads of this process
    )
    variation: str = ""


def commands(
    tool: str, link: Link, port: int, parts: list[list[Path]], arguments: Iterable[str] = ()
) -> list[list[str]]:
    """The senders' commands, one for each association."""
    if tool == "pynetdicom":
        start = [sys.executable, "-m", "bench.pynetdicom_sender", link.host, str(port)]
    else:
        start = [senders.tool(tool), "-aec", "ORTHANC", *arguments, link.host, str(port)]
    return [[*link.prefix, *start, *map(str, part)] for part in parts]


def send(
    tool: str, link: Link, server: OrthancProcess, parts: list[list[Path]], variation: Variation | None = None
) -> float:
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
    variation = variation or Variation()
    began = time.monotonic()
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | variation.sender_environment,
        )
        for command in commands(tool, link, server.dicom_port, parts, variation.sender_arguments)
    ]
    try:
        if tool == "pynetdicom":
            began = _wait_until_ready(processes)
        return _let_send(processes, tool, began)
    except (subprocess.TimeoutExpired, BrokenPipeError) as error:
        raise OrthancError(f"{tool}: {error}") from None
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _wait_until_ready(processes: list[subprocess.Popen[bytes]]) -> float:
    """Waits until all have read their files; returns the time on the monotonic clock."""
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    return time.monotonic()


def _let_send(processes: list[subprocess.Popen[bytes]], tool: str, began: float) -> float:
    """Tells those that wait to send, and returns the seconds since `began` when all have ended."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.close()
    for process in processes:
        if process.wait(max(0.1, began + CELL_DEADLINE_S - time.monotonic())) != 0:
            raise OrthancError(f"{tool} ended with status {process.returncode}")
    return time.monotonic() - began


def watcher_cpu(server: OrthancProcess, *, tuned: bool) -> float:
    """CPU seconds of the watcher so far; waits until it watches."""
    deadline = time.monotonic() + 10
    while tuned:
        status = server.json("GET", "/associations/status")
        if status["listening"]:
            return float(status["cpu_seconds"])
        if time.monotonic() > deadline:
            raise OrthancError("the watcher did not find the DICOM server's socket")
        time.sleep(0.02)
    return 0.0


def measure(
    link: Link,
    tool: str,
    associations: int,
    *,
    tuned: bool,
    study: list[Path],
    folder: Path,
    variation: Variation | None = None,
) -> Sample:
    """Measures one cell.

    Raises:
        OrthancError: a server that does not start, a sender that fails, or an instance that is not there afterwards.
    """
    variation = variation or Variation()
    place = Path(tempfile.mkdtemp(dir=folder))
    configuration = base_configuration(place, bundle=tuned) | ({"DicomAssociations": {}} if tuned else {})
    try:
        with OrthancProcess(
            place, configuration | variation.configuration, environment=variation.server_environment, graceful=False
        ) as server:
            watcher_before, before = watcher_cpu(server, tuned=tuned), usage(server)[0]
            senders_before = senders_cpu()
            parts = [study[first::associations] for first in range(associations)]
            seconds = send(tool, link, server, parts, variation)
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
                (senders_cpu() - senders_before) * 1000 / len(study),
                variation.name,
            )
    finally:
        shutil.rmtree(place, ignore_errors=True)


def senders_cpu() -> float:
    """CPU seconds of all child processes that have ended; while a server runs, these are senders."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
