"""install.sh in folders of its own: what it installs, removes, prints and refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from plugin.check.orthanc_files import read
from release import packing
from release.wheels import Library
from tests.support import old_bundle

SAMPLE = """{
  /**
   * Configuration to run Python script as Orthanc plugins.
   **/
  "PythonScript" : "/etc/orthanc/sample.py",
  "PythonVerbose" : false
}
"""
PREFIX = "/usr/share/orthanc/ingest bundle"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """A bundle with our own scripts and one small library, unpacked under a strict umask."""
    metadata = b"Metadata-Version: 2.1\nName: thing\nVersion: 1.0\nLicense: MIT\n"
    files = {"thing/__init__.py": b"", "thing-1.0.dist-info/METADATA": metadata, "thing-1.0.dist-info/LICENSE": b"MIT"}
    return unpack(tmp_path / "un packed", packing.content("3.11", [Library("thing", "1.0", files)]))


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_bytes(content)
        path.chmod(0o700 if name.startswith(packing.EXECUTABLE) else 0o600)
    # Without the folder of libraries nothing is compiled, which takes seconds and is not what is tested here.
    shutil.rmtree(folder / "env")
    sums = (folder / "SHA256SUMS").read_text().splitlines(keepends=True)
    (folder / "SHA256SUMS").write_text("".join(line for line in sums if "  env/" not in line))
    return folder


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """A DESTDIR with a Debian's /etc/orthanc in it."""
    folder = tmp_path / "dest dir"
    (folder / "etc" / "orthanc").mkdir(parents=True)
    (folder / "etc" / "orthanc" / "python.json").write_text(SAMPLE)
    (folder / "etc" / "orthanc" / "orthanc.json").write_text('{\n  "Name" : "archive"\n}\n')
    return folder


def run(source: Path, command: str, destination: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PREFIX": PREFIX, "DESTDIR": str(destination)} | variables
    # No plugins of this machine: what they add to the advice is tested by itself.
    environment.setdefault("PLUGINS", str(destination / "no plugins"))
    script = str(source / "install.sh")
    return subprocess.run([script, command], env=environment, capture_output=True, text=True, check=False, timeout=60)


def files_of(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


def test_everything_is_put_readable_for_orthanc_s_own_user_and_listed(unpacked: Path, destination: Path) -> None:
    done = run(unpacked, "install", destination)
    assert done.returncode == 0, done.stderr
    place = Path(f"{destination}{PREFIX}")
    assert files_of(place) == files_of(unpacked) | {"MANIFEST"}
    assert set((place / "MANIFEST").read_text().splitlines()) == files_of(unpacked)
    for path in place.rglob("*"):
        wanted = 0o755 if path.is_dir() or path.name in {"install.sh", "ingest-bundle"} else 0o644
        assert path.stat().st_mode & 0o777 == wanted, path


def test_what_to_change_is_said_and_nothing_in_etc_is_touched(unpacked: Path, destination: Path) -> None:
    done = run(unpacked, "install", destination)
    assert "change line 5 of /etc/orthanc/python.json" in done.stdout
    assert f'"PythonScript" : "{PREFIX}/plugin/main.py"' in done.stdout
    assert '"DeferredDelete": {}' in done.stdout
    assert (destination / "etc" / "orthanc" / "python.json").read_text() == SAMPLE
    assert not (destination / "etc" / "orthanc" / "ingest-bundle.json").exists()


def test_asked_to_it_changes_etc_and_changes_it_back(unpacked: Path, destination: Path) -> None:
    etc = destination / "etc" / "orthanc"
    done = run(unpacked, "install", destination, CONFIGURE="/etc/orthanc")
    assert done.returncode == 0, done.stderr
    document = read(etc).document
    assert document["PythonScript"] == f"{PREFIX}/plugin/main.py"
    assert document["PythonVerbose"] is False
    assert {"DeferredDelete", "IngestTranscoder", "StageTiming", "DicomAssociations", "Python"} <= set(document)
    again = run(unpacked, "install", destination, CONFIGURE="/etc/orthanc")
    assert "names the bundle already" in again.stdout
    assert run(unpacked, "uninstall", destination, CONFIGURE="/etc/orthanc").returncode == 0
    assert (etc / "python.json").read_text() == SAMPLE
    assert read(etc).document == {"Name": "archive", **read(etc / "python.json").document}
    # What the operator has changed meanwhile is there again at the next installation.
    (etc / "ingest-bundle.json.removed").write_text('{"StageTiming": {}}')
    assert run(unpacked, "install", destination, CONFIGURE="/etc/orthanc").returncode == 0
    assert read(etc / "ingest-bundle.json").document == {"StageTiming": {}}


def test_debian_13_s_deletion_plugin_is_switched_off(unpacked: Path, destination: Path) -> None:
    plugins = destination / "plugins"
    plugins.mkdir()
    (plugins / "libDelayedDeletion.so").touch()
    assert (
        '"DelayedDeletion": { "Enable": false }' in run(unpacked, "install", destination, PLUGINS=str(plugins)).stdout
    )


def test_a_script_of_the_site_s_own_is_not_replaced(unpacked: Path, destination: Path) -> None:
    path = destination / "etc" / "orthanc" / "python.json"
    path.write_text(SAMPLE.replace("sample.py", "routing.py"))
    done = run(unpacked, "install", destination, CONFIGURE="/etc/orthanc")
    assert done.returncode == 1
    assert "names /etc/orthanc/routing.py: Orthanc loads one script only" in done.stderr
    assert "routing.py" in path.read_text()


def test_an_upgrade_takes_away_what_the_new_version_no_longer_has(unpacked: Path, destination: Path) -> None:
    place = Path(f"{destination}{PREFIX}")
    assert run(unpacked, "install", destination).returncode == 0
    # The older version had a file more, and somebody put a ledger there.
    (place / "plugin" / "old").mkdir()
    (place / "plugin" / "old" / "part.py").write_text("")
    with (place / "MANIFEST").open("a") as manifest:
        manifest.write("plugin/old/part.py\n")
    (place / "deferred-deletions.db").write_text("precious")
    with (place / "plugin" / "main.py").open() as loaded:
        assert run(unpacked, "install", destination).returncode == 0
        assert os.fstat(loaded.fileno()).st_nlink == 0, "written over under a running Orthanc"
    assert not (place / "plugin" / "old").exists()
    assert (place / "deferred-deletions.db").read_text() == "precious"


def test_an_upgrade_from_0_1_0_leaves_no_module_of_the_old_layout(
    unpacked: Path, destination: Path, tmp_path: Path
) -> None:
    """0.1.0 had deferred_delete/storage.py where there is a folder deferred_delete/storage now."""
    place = Path(f"{destination}{PREFIX}")
    old = old_bundle.unpack(tmp_path / "0.1.0")
    assert run(old, "install", destination).returncode == 0
    before = files_of(place)
    assert {"deferred_delete/storage.py", "deferred_delete/worker.py", "transcoder/policy.py"} <= before
    assert any(name.startswith("deferred_delete/__pycache__/storage.") for name in before), "nothing was compiled"
    # The file of a module that nobody lists: an Orthanc that may write here compiles it again after installation.
    again = place / "deferred_delete" / "__pycache__" / "storage.cpython-312.pyc"
    again.write_bytes(b"")

    assert run(unpacked, "install", destination).returncode == 0
    assert files_of(place) - {again.relative_to(place).as_posix()} == files_of(unpacked) | {"MANIFEST"}
    for path in place.rglob("*.py"):
        assert old_bundle.MODULE not in path.read_text(), path


def test_uninstalling_leaves_what_is_not_ours_and_says_so(unpacked: Path, destination: Path) -> None:
    place = Path(f"{destination}{PREFIX}")
    assert run(unpacked, "install", destination).returncode == 0
    (place / "docs" / "deferred-deletions.db").write_text("precious")
    done = run(place, "uninstall", destination)  # the installed script takes itself away too
    assert done.returncode == 0, done.stderr
    assert files_of(place) == {"docs/deferred-deletions.db"}
    assert str(place / "docs" / "deferred-deletions.db") in done.stdout


def test_a_configuration_that_still_names_the_bundle_is_told(unpacked: Path, destination: Path) -> None:
    path = destination / "etc" / "orthanc" / "python.json"
    path.write_text(SAMPLE.replace("/etc/orthanc/sample.py", f"{PREFIX}/plugin/main.py"))
    assert run(unpacked, "install", destination).returncode == 0
    done = run(unpacked, "uninstall", destination)
    assert "Orthanc will not start before you have changed line 5 of /etc/orthanc/python.json" in done.stdout


@pytest.mark.parametrize("manifest", ["../../etc/passwd\n", "/etc/passwd\n"])
def test_a_manifest_that_leads_outside_removes_nothing(unpacked: Path, destination: Path, manifest: str) -> None:
    place = Path(f"{destination}{PREFIX}")
    assert run(unpacked, "install", destination).returncode == 0
    (place / "MANIFEST").write_text(f"plugin/main.py\n{manifest}")
    done = run(unpacked, "uninstall", destination)
    assert done.returncode == 1
    assert "names files outside of the folder" in done.stderr
    assert (place / "plugin" / "main.py").exists()


def test_a_damaged_bundle_installs_nothing(unpacked: Path, destination: Path) -> None:
    (unpacked / "plugin" / "main.py").write_text("cut off")
    done = run(unpacked, "install", destination)
    assert done.returncode == 1
    assert "this bundle is damaged" in done.stderr
    assert not Path(f"{destination}{PREFIX}").exists()


def test_a_folder_of_somebody_else_s_is_not_installed_into(unpacked: Path, destination: Path) -> None:
    place = Path(f"{destination}{PREFIX}")
    place.mkdir(parents=True)
    (place / "theirs").touch()
    done = run(unpacked, "install", destination)
    assert done.returncode == 1
    assert "is no installation of this bundle" in done.stderr
    assert files_of(place) == {"theirs"}


def test_unpacked_in_its_place_it_only_makes_its_list(unpacked: Path, destination: Path) -> None:
    done = run(unpacked, "install", Path(), PREFIX=str(unpacked), DESTDIR="")
    assert done.returncode == 0, done.stderr
    assert (unpacked / "MANIFEST").exists()
    assert run(unpacked, "uninstall", Path(), PREFIX=str(unpacked), DESTDIR="").returncode == 0
    assert not unpacked.exists()
