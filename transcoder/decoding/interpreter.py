"""Finds a Python that can run the worker: inside Orthanc `sys.executable` need not be one."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def candidates() -> list[str]:
    """Programs that may be a Python of the version that runs here, the likeliest first.

    Whether one is, is seen when it starts.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    folders = [Path(sys.base_prefix, "bin"), Path("/usr/bin")]
    found = [Path(sys.executable)] if Path(sys.executable or "").name.startswith("python") else []
    found += [folder / version for folder in folders]
    found += [Path(path) for name in (version, "python3") if (path := shutil.which(name))]
    return [str(path) for path in dict.fromkeys(found) if path.is_file()]


def missing() -> str:
    """What to do where there is none, in one line."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    return (
        f"no fitting python{version} to run the decoder with: expected Debian's package python3 "
        f"(python{version}-minimal is enough)"
    )
