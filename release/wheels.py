"""Reads the files of locked libraries, from the environment of `make setup` or from wheels for another Python."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

# Pip writes these beside a wheel's own files.
_PIP_FILES = {"INSTALLER", "REQUESTED", "RECORD", "direct_url.json"}
# Debian 12 has glibc 2.36, so that libraries built for these run there.
_PLATFORMS = ("manylinux_2_28", "manylinux_2_17", "manylinux2014", "manylinux_2_5", "manylinux1")


class PackingError(Exception):
    """The bundle cannot be made; the message is one line that says what to do."""


class Library(NamedTuple):
    """One locked library: its files, by their path below site-packages."""

    name: str
    version: str
    files: dict[str, bytes]

    @property
    def metadata_folder(self) -> str:
        """The path of its .dist-info folder."""
        return next(path.split("/")[0] for path in self.files if path.split("/")[0].endswith(".dist-info"))


def canonical(name: str) -> str:
    """A project's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def locked(lock: Path) -> dict[str, str]:
    """Names (canonical) and versions of a lock file.

    Raises:
        PackingError: a line that pins nothing.
    """
    found = {}
    for line in lock.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, pinned, version = line.partition("==")
        if not pinned:
            raise PackingError(f"{lock}: {line!r}: expected NAME==VERSION; run 'make lock'")
        found[canonical(name)] = version.strip()
    return found


def installed(site_packages: Path, lock: Path) -> Iterator[Library]:
    """The locked libraries of an environment; each file is compared with the checksum of its wheel.

    Raises:
        PackingError: a library is missing, of another version, or was changed after its installation.
    """
    folders = {}
    for folder in site_packages.glob("*.dist-info"):
        name, _, version = folder.name.removesuffix(".dist-info").partition("-")
        folders[canonical(name), version] = folder
    for name, version in sorted(locked(lock).items()):
        if (name, version) not in folders:
            raise PackingError(f"{site_packages} has no {name} {version}, which {lock.name} names: run 'make setup'")
        record = (folders[name, version] / "RECORD").read_text()
        yield Library(name, version, _of_record(record, lambda path: (site_packages / path).read_bytes()))


def download(lock: Path, version: str, machine: str, folder: Path) -> None:
    """Fetches the wheels of a lock file for another Python into `folder`; those that are there are not asked for again.

    Args:
        lock: names what to fetch.
        version: the Python, such as 3.13.
        machine: as `platform.machine` calls it, such as x86_64.
        folder: made if needed.

    Raises:
        PackingError: pip could not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    missing = [f"{name}=={pin}" for name, pin in locked(lock).items() if _wheel(folder, name, pin) is None]
    if not missing:
        return
    platforms = [option for tag in _PLATFORMS for option in ("--platform", f"{tag}_{machine}")]
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:"]
    command += ["--python-version", version, "--implementation", "cp", *platforms, "-d", str(folder), *missing]
    if subprocess.run(command, check=False).returncode:
        raise PackingError(f"pip could not fetch the wheels of {lock.name} for Python {version}: see the lines above")


def unpacked(folder: Path, lock: Path) -> Iterator[Library]:
    """The locked libraries out of their wheels in `folder`.

    Raises:
        PackingError: a wheel is missing or damaged.
    """
    for name, version in sorted(locked(lock).items()):
        path = _wheel(folder, name, version)
        if path is None:
            raise PackingError(f"{folder} has no wheel of {name} {version}")
        with zipfile.ZipFile(path) as wheel:
            (record,) = [member for member in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/RECORD", member)]
            yield Library(name, version, _of_record(wheel.read(record).decode(), wheel.read))


def _wheel(folder: Path, name: str, version: str) -> Path | None:
    for path in folder.glob("*.whl"):
        found, number = path.name.split("-")[:2]
        if (canonical(found), number) == (name, version):
            return path
    return None


def _of_record(record: str, read: Callable[[str], bytes]) -> dict[str, bytes]:
    """The files that a RECORD lists, without those that pip makes itself.

    Raises:
        PackingError: a file is not what the wheel's RECORD says.
    """
    files = {}
    for path, digest, _ in csv.reader(io.StringIO(record)):
        pure = PurePosixPath(path)
        if ".." in pure.parts or "__pycache__" in pure.parts:
            continue
        if pure.parts[0].endswith(".dist-info") and pure.name in _PIP_FILES:
            continue
        # Of what a wheel installs outside, only purelib and platlib: these are site-packages itself.
        if pure.parts[0].endswith(".data"):
            if pure.parts[1] not in {"purelib", "platlib"}:
                continue
            pure = PurePosixPath(*pure.parts[2:])
        content = read(path)
        kind, _, expected = digest.partition("=")
        if kind and base64.urlsafe_b64encode(hashlib.new(kind, content).digest()).rstrip(b"=").decode() != expected:
            raise PackingError(f"{path} is not as its wheel had it: remove the environment and run 'make setup'")
        files[str(pure)] = content
    return files
