"""The packed bundle: what goes in, that it is the same twice, and that nothing goes in without its licence."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from plugin.logs import PACKAGES
from release import packing
from release.licences import third_party
from release.wheels import Library, PackingError, installed, unpacked

FILES = {
    "thing/__init__.py": b"VALUE = 1\n",
    "thing-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nLicense-Expression: MIT\n",
    "thing-1.0.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "thing-1.0.dist-info/entry_points.txt": b"[console_scripts]\nthing = thing:main\n",
    "thing-1.0.dist-info/licenses/LICENSE": b"Permission is hereby granted\n",
}


def digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "py.txt"
    path.write_text("# made by hand\nThing==1.0\n")
    return path


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "wheels" / "thing-1.0-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
        record = "".join(f"{name},{digest(content)},{len(content)}\n" for name, content in FILES.items())
        archive.writestr("thing-1.0.dist-info/RECORD", record + "thing-1.0.dist-info/RECORD,,\n")
    return path


@pytest.fixture
def site_packages(tmp_path: Path, wheel: Path) -> Path:
    """What pip makes of the wheel, compiled files, commands and notes included."""
    place = tmp_path / "environment"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--prefix", str(place)]
    subprocess.run([*command, str(wheel)], check=True, stderr=subprocess.DEVNULL)
    (found,) = place.glob("lib/python3*/site-packages")
    return found


def test_an_environment_and_its_wheels_give_the_same_files(lock: Path, wheel: Path, site_packages: Path) -> None:
    assert list(site_packages.glob("thing/__pycache__/*.pyc"))
    assert [library.files for library in installed(site_packages, lock)] == [FILES]
    assert [library.files for library in unpacked(wheel.parent, lock)] == [FILES]


def test_a_library_that_was_changed_after_its_installation_is_refused(lock: Path, site_packages: Path) -> None:
    (site_packages / "thing" / "__init__.py").write_text("VALUE = 2\n")
    with pytest.raises(PackingError, match=r"thing/__init__\.py is not as its wheel had it"):
        list(installed(site_packages, lock))


def test_a_library_of_another_version_is_refused(lock: Path, site_packages: Path) -> None:
    lock.write_text("thing==1.1\n")
    with pytest.raises(PackingError, match=r"has no thing 1\.1, which py\.txt names: run 'make setup'"):
        list(installed(site_packages, lock))


def test_no_library_goes_in_without_the_text_of_its_licence(tmp_path: Path) -> None:
    bare = Library("thing", "1.0", {name: data for name, data in FILES.items() if "LICENSE" not in name})
    with pytest.raises(PackingError, match=r"thing 1\.0 has no licence text in its wheel"):
        third_party([bare], tmp_path, {})
    (tmp_path / "thing.txt").write_text("Permission, from the project's source")
    text = third_party([bare], tmp_path, {"plugin/pages/LICENSE.chart": b"of the page's chart"})
    assert "thing 1.0: MIT" in text
    assert "Permission, from the project's source" in text
    assert "of the page's chart" in text


def test_the_same_tree_packs_to_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "libraries", lambda _: [Library("thing", "1.0", dict(FILES))])
    first = packing.pack("3.11", tmp_path / "one")
    previous = os.umask(0o077)
    try:
        second = packing.pack("3.11", tmp_path / "two")
    finally:
        os.umask(previous)
    assert first.read_bytes() == second.read_bytes()
    with tarfile.open(first) as archive:
        members = archive.getmembers()
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, packing.release_time())}
    assert [member.name for member in members] == sorted(member.name for member in members)
    modes = {member.name.partition("/")[2]: member.mode for member in members}
    assert (modes["install.sh"], modes["bin/ingest-bundle"], modes["plugin/main.py"]) == (0o755, 0o755, 0o644)


def test_everything_that_orthanc_loads_is_packed_and_nothing_of_ours_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert packing.PACKAGES == PACKAGES
    files = packing.content("3.11", [Library("thing", "1.0", dict(FILES))])
    for name in (
        "plugin/main.py",
        "plugin/pages/index.html",
        "deferred_delete/ledger/schema.sql",
        "dicom/uids.py",
        "orthanc.json",
        "LICENSE",
    ):
        assert name in files
    assert not [
        name for name in files if name.startswith(("tests/", "harness/", "bench/", ".")) or "__pycache__" in name
    ]
    assert files["VERSION"].startswith(f"{packing.version()}\nPython 3.11, Linux ".encode())
    sums = dict(reversed(line.split("  ", 1)) for line in files.pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def test_the_changelog_s_newest_release_is_the_version() -> None:
    found = packing._RELEASE.search((packing.BUNDLE / "CHANGELOG.md").read_text())
    assert found is not None
    assert found["version"] == packing.version()
