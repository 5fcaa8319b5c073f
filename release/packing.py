"""Packs the bundle with its libraries for a server without network: dist/orthanc-ingest-bundle-VERSION-pyXY.tar.gz.

The same tree gives the same bytes: names are sorted, times are the release's, owners are root.
"""

from __future__ import annotations

import argparse
import datetime
import gzip
import hashlib
import io
import os
import platform
import re
import sys
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from harness.orthanc_process import BUNDLE

from .licences import third_party
from .wheels import Library, PackingError, download, installed, locked, unpacked

NAME = "orthanc-ingest-bundle"
# The folders that Orthanc loads, and what goes with them; bench/, harness/, tests/ and typings/ are for developers.
PACKAGES = ("plugin", "deferred_delete", "transcoder", "guard", "timing", "association", "dicom", "support")
BESIDES = ("bin", "docs", "orthanc.json", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "install.sh")
EXECUTABLE = ("install.sh", "bin/")
_RELEASE = re.compile(r"^## \[(?P<version>[^\]]+)\] - (?P<date>\d{4}-\d{2}-\d{2})$", re.MULTILINE)
_HIDDEN = re.compile(r"(^|/)(\.|__pycache__(/|$))|\.pyc$|~$")


def version() -> str:
    """The bundle's version.

    Raises:
        PackingError: plugin/__init__.py tells none.
    """
    found = re.search(r'^__version__ = "([^"]+)"', (BUNDLE / "plugin" / "__init__.py").read_text(), re.MULTILINE)
    if found is None:
        raise PackingError("plugin/__init__.py has no __version__")
    return found[1]


def release_time() -> int:
    """The time of every file in the bundle, in seconds since 1970.

    SOURCE_DATE_EPOCH, or else the day of the newest release in CHANGELOG.md.
    """
    given = os.environ.get("SOURCE_DATE_EPOCH")
    if given:
        return int(given)
    newest = _RELEASE.search((BUNDLE / "CHANGELOG.md").read_text())
    if newest is None:
        raise PackingError("CHANGELOG.md has no line '## [VERSION] - YYYY-MM-DD'")
    return int(datetime.datetime.fromisoformat(f"{newest['date']}T00:00:00+00:00").timestamp())


def scripts(names: Iterable[str] = (*PACKAGES, *BESIDES)) -> dict[str, bytes]:
    """Our own files by their path."""
    found = {}
    for name in names:
        top = BUNDLE / name
        for path in [top] if top.is_file() else top.rglob("*"):
            relative = path.relative_to(BUNDLE).as_posix()
            if path.is_file() and not _HIDDEN.search(relative):
                found[relative] = path.read_bytes()
    return found


def libraries(python: str) -> list[Library]:
    """The locked libraries for one Python, such as 3.11.

    They are those of env/ if it was made for that Python, else of wheels that pip fetches into var/.

    Raises:
        PackingError: there is no lock file for this Python, or its libraries cannot be had.
    """
    lock = lock_path(python)
    if not lock.is_file():
        raise PackingError(f"no {lock.relative_to(BUNDLE)}: run 'make lock' on a Debian with Python {python}")
    site_packages = BUNDLE / "env" / "lib" / f"python{python}" / "site-packages"
    if site_packages.is_dir():
        return list(installed(site_packages, lock))
    folder = BUNDLE / "var" / "wheels" / f"py{python.replace('.', '')}"
    download(lock, python, platform.machine(), folder)
    return list(unpacked(folder, lock))


def lock_path(python: str) -> Path:
    """The lock file of one Python."""
    return BUNDLE / "requirements" / f"py{python.replace('.', '')}.txt"


def content(python: str, packed: list[Library]) -> dict[str, bytes]:
    """Every file of the bundle by its path: scripts, libraries, version and checksums."""
    files = scripts()
    vendored = {path: data for path, data in files.items() if re.search(r"/[^/]*licen[cs]e", path, re.IGNORECASE)}
    files["THIRD-PARTY.txt"] = third_party(packed, BUNDLE / "requirements" / "licences", vendored).encode()
    files[f"requirements/{lock_path(python).name}"] = lock_path(python).read_bytes()
    for library in packed:
        for path, data in library.files.items():
            place = f"env/lib/python{python}/site-packages/{path}"
            if place in files and files[place] != data:
                raise PackingError(f"{library.name} {library.version}: {path} is in two libraries")
            files[place] = data
    files["VERSION"] = f"{version()}\nPython {python}, Linux {platform.machine()}\n".encode()
    sums = [f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in sorted(files.items())]
    files["SHA256SUMS"] = "".join(sums).encode()
    return files


def write(path: Path, top: str, files: Mapping[str, bytes], when: int) -> None:
    """Writes the archive; it appears at `path` when it is whole. Names in it begin with `top`."""
    folders = {str(parent) for name in files for parent in Path(name).parents} - {"."}
    draft = path.with_name(path.name + ".part")
    # Level 6: a tenth larger than 9, in a third of the time.
    with (
        draft.open("wb") as raw,
        gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted({"", *folders, *files}):
            member = tarfile.TarInfo(f"{top}/{name}".rstrip("/"))
            member.mtime, member.uname, member.gname = when, "root", "root"
            if name in files:
                member.size = len(files[name])
                member.mode = 0o755 if name.startswith(EXECUTABLE) else 0o644
                archive.addfile(member, io.BytesIO(files[name]))
            else:
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
    draft.rename(path)


def archive_name(python: str) -> str:
    """The file name of the bundle for one Python."""
    return f"{NAME}-{version()}-py{python.replace('.', '')}.tar.gz"


def pack(python: str, folder: Path) -> Path:
    """Makes the bundle for one Python in `folder`.

    Returns:
        The archive.

    Raises:
        PackingError: see `libraries` and `content`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / archive_name(python)
    write(path, path.name.removesuffix(".tar.gz"), content(python, libraries(python)), release_time())
    return path


def main(arguments: list[str] | None = None) -> int:
    """Packs; returns 0, or 1 with one line why not."""
    parser = argparse.ArgumentParser(prog="python -m release.packing", description=__doc__)
    parser.add_argument("--python", action="append", metavar="X.Y", help="by default the Python that runs this")
    parser.add_argument("--folder", type=Path, default=BUNDLE / "dist")
    parser.add_argument("--name", action="store_true", help="only say the archive's path")
    parsed = parser.parse_args(arguments)
    try:
        for python in parsed.python or [f"{sys.version_info.major}.{sys.version_info.minor}"]:
            if parsed.name:
                print(parsed.folder / archive_name(python))
                continue
            path = pack(python, parsed.folder)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            print(
                f"{path}: {path.stat().st_size / 1e6:.0f} MB, {len(locked(lock_path(python)))} libraries, sha256 "
                f"{digest}"
            )
    except (PackingError, OSError) as error:
        print(f"bundle: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
