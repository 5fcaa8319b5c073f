"""Sends files to Orthanc: by DCMTK's storescu, unmodified, and by HTTP."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .orthanc_process import OrthancError, OrthancProcess

SEND_DEADLINE_S = 1800


def tool(name: str) -> str:
    """The path of one of DCMTK's programs.

    Raises:
        OrthancError: it is not installed.
    """
    path = shutil.which(name)
    if path is None:
        raise OrthancError(f"{name} is not installed: run 'make setup' (or apt-get install dcmtk)")
    return path


def storescu(
    server: OrthancProcess,
    paths: Sequence[Path],
    *,
    calling: str = "STORESCU",
    arguments: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> None:
    """One storescu association with all of `paths`, in the order given.

    Raises:
        OrthancError: storescu ended with another status than 0; the message holds its last line.
    """
    command = [tool("storescu"), "-aet", calling, "-aec", "ORTHANC", *arguments, "127.0.0.1", str(server.dicom_port)]
    done = subprocess.run(
        [*command, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=SEND_DEADLINE_S,
        check=False,
        env=os.environ | (environment or {}),
    )
    if done.returncode != 0:
        lines = (done.stderr + done.stdout).strip().splitlines() or ["no message"]
        raise OrthancError(f"storescu ended with status {done.returncode}: {lines[-1]}")


def http_upload(
    server: OrthancProcess,
    paths: Sequence[Path],
    *,
    clients: int = 1,
    progress: Callable[[], None] = lambda: None,
) -> list[str]:
    """POST /instances for each path, keep-alive, by `clients` threads.

    Returns:
        The Orthanc identifiers of the instances, in the order of `paths`.

    Raises:
        OrthancError: any answer that is not 200.
    """

    def upload(path: Path) -> str:
        answer = server.json("POST", "/instances", path.read_bytes())
        progress()
        return str(answer["ID"])

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(upload, paths))


def timed_http_upload(server: OrthancProcess, paths: Sequence[Path], *, clients: int) -> list[float]:
    """As ``http_upload``; returns how long each store took, in ms.

    Raises:
        OrthancError: any answer that is not 200.
    """

    def upload(path: Path) -> float:
        content = path.read_bytes()
        began = time.monotonic()
        server.json("POST", "/instances", content)
        return (time.monotonic() - began) * 1000

    with ThreadPoolExecutor(clients) as pool:
        return list(pool.map(upload, paths))
