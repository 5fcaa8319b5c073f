"""The packed bundle as a hospital gets it: unpacked and installed.

Debian's Orthanc loads it as its own user, from its own configuration.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferred_delete.ledger.schema import SCHEMA_VERSION
from harness.free_ports import free_port
from harness.orthanc_process import OrthancProcess, executable
from harness.senders import http_upload
from release import packing
from tests.support import old_bundle
from tests.support.old_bundle import PendingRow

pytestmark = [pytest.mark.orthanc, pytest.mark.slow]

ETC = Path("/etc/orthanc")
AS_ORTHANC = ["setpriv", "--reuid=orthanc", "--regid=orthanc", "--clear-groups"]
# What an operator's shell has, and nothing of the environment of these tests.
BARE = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


class DebiansOrthanc(OrthancProcess):
    """Started as Debian's service does: by its own user, with a configuration folder."""

    def spawn(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [*AS_ORTHANC, executable(), str(self.configuration_path)],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=BARE,
            )


@pytest.fixture(scope="module")
def unpacked() -> Iterator[Path]:
    """The bundle for this machine's Python, packed and unpacked again, where Orthanc's user can read it."""
    with tempfile.TemporaryDirectory(
        prefix="ingest-bundle-test-", dir="/tmp"
    ) as name:  # below pytest's folder only root can read
        folder = Path(name)
        folder.chmod(0o755)
        assert packing.main(["--folder", name]) == 0
        (archive,) = folder.glob("*.tar.gz")
        subprocess.run(["tar", "-xzf", str(archive), "-C", name], check=True)
        archive.unlink()
        yield folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture
def server(unpacked: Path) -> Iterator[DebiansOrthanc]:
    """Debian's own configuration, copied, with other ports and folders; the bundle is not in it."""
    try:
        pwd.getpwnam("orthanc")
    except KeyError:
        pytest.skip("there is no user orthanc: needs Debian's package")
    if os.geteuid() != 0:
        pytest.skip("needs root, to start Orthanc as its own user")
    place = unpacked.parent / "server"
    shutil.copytree(ETC, place / "etc")
    (place / "storage").mkdir()
    configuration = {"HttpPort": free_port(), "DicomPort": free_port(), "StorageDirectory": str(place / "storage")}
    text = (place / "etc" / "orthanc.json").read_text()
    for key, value in {**configuration, "IndexDirectory": configuration["StorageDirectory"]}.items():
        shown = str(value) if isinstance(value, int) else f'"{value}"'
        # From 1.13 on IndexDirectory is a comment there.
        text, count = re.subn(rf'^  (?:// )?"{key}" : [^,]*', f'  "{key}" : {shown}', text, flags=re.MULTILINE)
        assert count == 1, key
    (place / "etc" / "orthanc.json").write_text(text)
    subprocess.run(["chown", "-R", "orthanc:orthanc", str(place)], check=True)
    made = DebiansOrthanc(place, configuration)
    made.configuration_path = place / "etc"
    yield made
    made.kill()
    shutil.rmtree(place)


def install(source: Path, command: str, server: DebiansOrthanc, prefix: Path | None = None) -> str:
    environment = BARE | {"PREFIX": str(prefix or source.parent / "prefix")}
    environment |= {"CONFIGURE": str(server.configuration_path)}
    done = subprocess.run(
        [str(source / "install.sh"), command], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def tool(bundle: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """One of the bundle's tools, by Orthanc's user with the system's own Python."""
    command = [*AS_ORTHANC, str(bundle / "bin" / "ingest-bundle"), *map(str, arguments)]
    return subprocess.run(command, env=BARE, cwd="/", capture_output=True, text=True, check=False)


def files_of(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_installed_used_and_taken_away_again(unpacked: Path, server: DebiansOrthanc, small_study: list[Path]) -> None:
    sent = [hashlib.sha256(path.read_bytes()).hexdigest() for path in small_study]

    def stored(orthanc_ids: list[str]) -> list[str]:
        return [hashlib.sha256(server.request("GET", f"/instances/{one}/file").data).hexdigest() for one in orthanc_ids]

    with server:  # native
        first = http_upload(server, small_study[:20])
    said = install(unpacked, "install", server)
    prefix = unpacked.parent / "prefix"
    assert "/etc/python.json; as it was" in said
    checked = tool(prefix, "plugin", "check", server.configuration_path)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout

    with server:  # with the bundle, on a storage folder full of native files
        assert len(server.json("GET", "/bundle/status")["Sections"]) == 5
        assert stored(first) == sent[:20]
        second = http_upload(server, small_study[20:])
        assert server.json("GET", "/transcoder/status")[0]["reason"] == "transcoded"
        for one in [*first[:3], *second[:3]]:
            server.json("DELETE", f"/instances/{one}")
        pending = server.json("GET", "/deferred-delete/status")["pending"]
        assert pending >= 6
    assert files_of(prefix) - {"MANIFEST"} == set((prefix / "MANIFEST").read_text().splitlines())

    install(prefix, "uninstall", server)
    assert not prefix.exists()
    with server:  # native again
        assert server.request("GET", "/bundle/status").status == 404
        assert stored(first[3:]) == sent[3:20]
        for one in second[3:]:
            assert server.request("GET", f"/instances/{one}/preview").status == 200
        known = server.json("GET", "/statistics")["TotalDiskSize"]

    # What was pending is finished without Orthanc, from the unpacked bundle.
    ledger = server.storage / "deferred-deletions.db"
    assert len(server.attachment_files()) > len(first + second) - 6
    done = tool(unpacked, "deferred_delete", "drain", ledger, "--storage", server.storage)
    assert done.returncode == 0, done.stderr
    assert "0 left, 0 of them failed" in done.stdout
    assert sum(path.stat().st_size for path in server.attachment_files()) == int(known)


def deleted_by_0_1_0(server: DebiansOrthanc, study: list[Path]) -> list[PendingRow]:
    """Stores a study and deletes half of it as 0.1.0 did: gone from the index, with files and a ledger that wait."""
    with server:  # native
        stored = http_upload(server, study)
        copies = {path: path.read_bytes() for path in server.attachment_files()}
        for one in stored[: len(study) // 2]:
            server.json("DELETE", f"/instances/{one}")
        gone = sorted(set(copies) - set(server.attachment_files()))
    asked_at, due_at = 1_790_000_000_000, 4_000_000_000_000  # ms since 1970: in 2026, and in 2096
    rows = []
    for index, path in enumerate(gone):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(copies[path])
        # One deletion had failed before, and a crash left another in the worker's hands.
        state, attempts, error = {0: ("failed", 3, "Read-only file system"), 1: ("claimed", 0, None)}.get(
            index, ("pending", 0, None)
        )
        rows.append(PendingRow(path.name, 1, asked_at + index, state, attempts, due_at, error))
    old_bundle.write_ledger(server.storage / "deferred-deletions.db", rows)
    subprocess.run(["chown", "-R", "orthanc:orthanc", str(server.storage)], check=True)
    return rows


def test_a_bundle_of_0_1_0_is_upgraded_in_place_with_what_was_pending(
    unpacked: Path, server: DebiansOrthanc, small_study: list[Path], tmp_path: Path
) -> None:
    rows = deleted_by_0_1_0(server, small_study[:20])
    assert len(rows) >= 10
    old = old_bundle.unpack(tmp_path / "0.1.0")
    prefix = unpacked.parent / "prefix"
    install(old, "install", server, prefix)
    assert (prefix / "deferred_delete" / "storage.py").is_file()
    assert list((prefix / "deferred_delete" / "__pycache__").glob("storage.*"))

    install(unpacked, "install", server)
    assert not [path for path in prefix.rglob("*.py") if old_bundle.MODULE in path.read_text(errors="replace")]
    assert files_of(prefix) - {"MANIFEST"} == set((prefix / "MANIFEST").read_text().splitlines())
    checked = tool(prefix, "plugin", "check", server.configuration_path)
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout

    ledger = server.storage / "deferred-deletions.db"
    with server:
        status = server.json("GET", "/deferred-delete/status")
        assert (status["pending"], status["failed"]) == (len(rows) - 1, 1)
    version, kept = old_bundle.read_ledger(ledger)
    assert version == SCHEMA_VERSION > 2
    # What a crash had left in the worker's hands waits again. Nothing else has changed.
    assert kept == [row._replace(state="pending") if row.state == "claimed" else row for row in rows]
    done = tool(prefix, "deferred_delete", "drain", ledger, "--storage", server.storage)
    assert done.returncode == 0, done.stderr
    assert "0 left, 0 of them failed" in done.stdout
    assert not {row.attachment_uuid for row in rows} & {path.name for path in server.attachment_files()}
    install(prefix, "uninstall", server)
    assert not prefix.exists()


def test_the_tools_say_what_is_missing(tmp_path: Path, unpacked: Path) -> None:
    bundle = tmp_path / "bundle"
    (bundle / "bin").mkdir(parents=True)
    (bundle / "timing").mkdir()
    (bundle / "timing" / "__main__.py").touch()
    shutil.copy(unpacked / "bin" / "ingest-bundle", bundle / "bin")

    def refused(*arguments: str) -> str:
        done = subprocess.run(
            [str(bundle / "bin" / "ingest-bundle"), *arguments], env=BARE, capture_output=True, text=True, check=False
        )
        assert done.returncode == 2
        return done.stderr

    assert "usage: " in refused()
    assert "usage: " in refused("nonsense")
    assert "no libraries in" in refused("timing", "read")
    (bundle / "env" / "lib" / "python3.99" / "site-packages").mkdir(parents=True)
    assert "run as root 'apt-get install python3.99'" in refused("timing", "read")
