"""Describes the machine, and reads CPU time and memory of a server."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from harness.orthanc_process import OrthancProcess


def machine() -> str:
    """One line about the machine."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        "?",
    )
    return f"{os.cpu_count()} cores ({model}), Linux {platform.release()}"


def usage(server: OrthancProcess) -> tuple[float, float]:
    """CPU seconds and peak resident megabytes of the server so far."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return cpu, peak * 1024 / 1e6
