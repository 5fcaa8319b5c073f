"""Runs several sending programs at once."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from harness.orthanc_process import OrthancError

DEADLINE_S = 900.0


def run_all(commands: list[list[str]], environment: dict[str, str] | None = None) -> None:
    """Runs all commands at once.

    Raises:
        OrthancError: one ended with another status than 0, or took too long.
    """
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | (environment or {})
        )
        for command in commands
    ]
    wait_for(processes, Path(commands[0][0]).name)


def wait_for(processes: list[subprocess.Popen[bytes]], name: str) -> None:
    """Waits for all processes, and kills what is left.

    Raises:
        OrthancError: one ended with another status than 0, or took too long.
    """
    deadline = time.monotonic() + DEADLINE_S
    try:
        for process in processes:
            if process.wait(max(0.1, deadline - time.monotonic())) != 0:
                raise OrthancError(f"{name} ended with status {process.returncode}")
    except subprocess.TimeoutExpired:
        raise OrthancError(f"{name} took longer than {DEADLINE_S:.0f} s") from None
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
