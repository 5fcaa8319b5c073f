"""`python -m plugin check`: what it says, its status, and that it touches nothing."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deferred_delete import Ledger
from harness.orthanc_process import BUNDLE
from plugin.check import advice
from plugin.check import command as check
from plugin.check.filesystems import is_remote, kind_of
from plugin.config import parse

SECTIONS: dict[str, Any] = {
    "DeferredDelete": {},
    "IngestTranscoder": {"Default": "JPEGLSLossless"},
    "IngestGuard": {},
    "StageTiming": {},
    "DicomAssociations": {},
}


@pytest.fixture
def fine(tmp_path: Path) -> dict[str, Any]:
    """A configuration without anything to say about it."""
    library = tmp_path / "libOrthancPython.so.5.0"
    library.write_bytes(f"libpython{sys.version_info[0]}.{sys.version_info[1]}.so.1.0".encode())
    (tmp_path / "libOrthancPython.so").symlink_to(library)
    (tmp_path / "storage").mkdir()
    return {
        "StorageDirectory": str(tmp_path / "storage"),
        "Plugins": [str(tmp_path / "libOrthancPython.so")],
        "PythonScript": str(BUNDLE / "plugin" / "main.py"),
        "Python": {"AllowThreads": True},
        **SECTIONS,
    }


def run(tmp_path: Path, document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    path = tmp_path / "orthanc.json"
    path.write_text(json.dumps(document))
    status = check.main(["check", str(path)])
    return status, capsys.readouterr().out.splitlines()


def test_what_would_be_registered_is_said(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    status, lines = run(tmp_path, fine, capsys)
    assert (status, lines[-1]) == (0, "fine")
    assert lines[0] == "sections on: DeferredDelete, IngestTranscoder, IngestGuard, StageTiming, DicomAssociations"
    assert any(line.startswith("callbacks: RegisterStorageArea, RegisterReceivedInstanceCallback") for line in lines)
    assert any("POST /deferred-delete/pause" in line for line in lines)


def test_the_archive_is_not_touched(tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a ledger is made, nor the C++ plugin's database taken over, nor a file of Orthanc's opened."""
    database = tmp_path / "pending.db"
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE Pending(uuid TEXT, type INTEGER)")
        connection.execute("INSERT INTO Pending VALUES ('5a7d3c1e-0000-4000-8000-000000000001', 1)")
    del fine["DeferredDelete"]
    before = database.read_bytes()
    status, lines = run(tmp_path, fine | {"DelayedDeletion": {"Enable": True, "Path": str(database)}}, capsys)
    assert status == 0, lines
    assert "DeferredDelete" in lines[0]
    assert database.read_bytes() == before
    assert list((tmp_path / "storage").iterdir()) == []


def test_orthanc_s_module_is_not_imported(tmp_path: Path, fine: dict[str, Any]) -> None:
    (tmp_path / "orthanc.json").write_text(json.dumps(fine))
    (tmp_path / "orthanc.py").write_text("raise SystemExit('imported')")
    done = subprocess.run(
        [BUNDLE / "bin" / "ingest-bundle", "plugin", "check", "orthanc.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"DeferredDelete": {"GracePeriode": 1}},
            "DeferredDelete.GracePeriode: unknown key: did you mean 'GracePeriod'?",
        ),
        # Orthanc's own ingest transcoding beside ours.
        ({"IngestTranscoding": "1.2.840.10008.1.2.4.70"}, "are both on"),
        ({"PythonScript": "/nowhere/plugin/main.py"}, "PythonScript: /nowhere/plugin/main.py: no such file"),
    ],
    ids=["unknown key", "both transcoders", "no script"],
)
def test_what_the_start_refuses_is_refused(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str], changes: dict[str, Any], line: str
) -> None:
    status, lines = run(tmp_path, fine | changes, capsys)
    assert status == 2
    assert len(lines) == 1
    assert lines[0].startswith("refused: ")
    assert line in lines[0]


LOSSY: dict[str, Any] = {"Action": "JPEG2000", "Lossy": {"MaximumRmsError": 4}}


def test_a_loss_that_no_restore_meets_is_not_warned_of(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    over_c_store = {"IngestTranscoder": {"Rules": [LOSSY | {"Origin": "cstore"}]}}
    assert run(tmp_path, fine | over_c_store, capsys)[0] == 0
    del fine["DeferredDelete"]
    assert run(tmp_path, fine | {"IngestTranscoder": {"Rules": [LOSSY]}}, capsys)[0] == 0


@pytest.mark.parametrize(
    "changes",
    [
        # Without TLS Orthanc asks nobody for a certificate.
        {"SslVerifyPeers": True},
        {"SslEnabled": True},
        # No section that asks Orthanc anything.
        {
            "SslEnabled": True,
            "SslVerifyPeers": True,
            "DeferredDelete": {"Enable": False},
            "DicomAssociations": {"QuickAck": False},
        },
    ],
)
def test_client_certificates_that_stop_nothing_are_not_warned_of(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str], changes: dict[str, Any]
) -> None:
    assert run(tmp_path, fine | changes, capsys)[0] == 0


WARNINGS: list[tuple[str, dict[str, Any], str]] = [
    ("no script", {"PythonScript": None}, "PythonScript: not there"),
    ("another script", {"PythonScript": __file__}, "not the bundle's plugin/main.py"),
    ("relative script", {"PythonScript": "plugin/main.py"}, "relative to the folder in which Orthanc is started"),
    ("no plugin", {"Plugins": []}, "Plugins: names no libOrthancPython.so"),
    ("plugin not there", {"Plugins": ["/nowhere/libOrthancPython.so"]}, "is not there: expected the package"),
    ("threads", {"Python": {}}, "Python.AllowThreads: not true"),
    ("deletion plugin", {"+Plugins": ["/x/libDelayedDeletion.so"]}, "DelayedDeletion.Enable: true"),
    ("object storage", {"+Plugins": ["/x/libOrthancAwsS3Storage.so"], "AwsS3Storage": {}}, "AwsS3Storage: libOrthanc"),
    ("grace", {"MaximumStorageSize": 1000, "DeferredDelete": {"GracePeriod": 86400}}, "the files of recycled patients"),
    ("overwriting", {"OverwriteInstances": True, "DeferredDelete": {"GracePeriod": 86400}}, "OverwriteInstances: true"),
    # As Orthanc 1.13 writes it.
    (
        "overwriting what changed",
        {"OverwriteInstances": "IfChanged", "DeferredDelete": {"GracePeriod": 86400}},
        'OverwriteInstances: "IfChanged": an instance',
    ),
    (
        "a loss at a restore",
        {"IngestTranscoder": {"Rules": [LOSSY]}},
        "IngestTranscoder.Rules[0].Lossy: a deleted study",
    ),
    (
        "a loss at a restore too",
        {"IngestTranscoder": {"Rules": [{"Action": "Keep", "Modality": "MR"}, LOSSY | {"Origin": ["cstore", "http"]}]}},
        "IngestTranscoder.Rules[1].Lossy: a deleted study",
    ),
    ("ledger's folder", {"DeferredDelete": {"Path": "/nowhere/ledger.db"}}, "no such folder here"),
    ("ports", {"HttpPort": 104, "DicomPort": 104}, "HttpPort: 104: the same as DicomPort"),
    ("port", {"DicomPort": 104104}, "DicomPort: 104104: expected 1 to 65535"),
    ("no HTTP", {"HttpServerEnabled": False}, "HttpServerEnabled: false"),
    (
        "client certificates",
        {"SslEnabled": True, "SslVerifyPeers": True},
        "SslVerifyPeers: true: the bundle has no client certificate to ask Orthanc with: without it there is no "
        "background deletion and restore of studies, no audit of a running Orthanc, "
        "no notice of modalities that are added at runtime",
    ),
    (
        "client certificates, nothing but deletion",
        {"SslEnabled": True, "SslVerifyPeers": True, "DicomAssociations": {"Outgoing": False}},
        "no audit of a running Orthanc: expected",
    ),
]


@pytest.mark.parametrize(("changes", "line"), [case[1:] for case in WARNINGS], ids=[case[0] for case in WARNINGS])
def test_what_is_likely_not_meant_is_warned_of(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str], changes: dict[str, Any], line: str
) -> None:
    document = fine | changes
    document["Plugins"] = document["Plugins"] + document.pop("+Plugins", [])
    status, lines = run(tmp_path, {key: value for key, value in document.items() if value is not None}, capsys)
    assert status == 1, lines
    (warning,) = [text for text in lines if text.startswith("warning: ")]
    assert line in warning
    assert lines[-1] == "1 warnings"


def test_libraries_for_another_python_are_warned_of(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "libOrthancPython.so.5.0").write_bytes(b"\0libpython3.99.so.1.0\0")
    status, lines = run(tmp_path, fine, capsys)
    assert status == 1
    assert "has no libraries for Python 3.99, which this Orthanc embeds" in lines[-2]


@pytest.mark.parametrize(
    ("marks", "line"),
    [((0x4F44656C, 99), "schema version 99, written by a newer bundle"), ((0, 1), "not a ledger of this bundle")],
)
def test_a_ledger_that_would_be_refused_is_warned_of(
    tmp_path: Path,
    fine: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    marks: tuple[int, int],
    line: str,
) -> None:
    with sqlite3.connect(tmp_path / "storage" / "deferred-deletions.db") as connection:
        connection.execute(f"PRAGMA application_id = {marks[0]}")
        connection.execute(f"PRAGMA user_version = {marks[1]}")
        connection.execute("CREATE TABLE something(x)")
    status, lines = run(tmp_path, fine, capsys)
    assert status == 1
    assert line in lines[-2]


def test_two_ledgers_are_refused_and_one_that_was_found_is_told_of(
    tmp_path: Path, fine: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    places = [tmp_path / folder / "deferred-deletions.db" for folder in ("storage", "index")]
    Ledger(places[0]).close()
    document = fine | {"IndexDirectory": str(tmp_path / "index")}
    status, lines = run(tmp_path, document, capsys)
    assert status == 0, lines
    assert f"ledger: {places[0]}, found there, grace period 60 s" in lines
    places[1].parent.mkdir()
    Ledger(places[1]).close()
    status, lines = run(tmp_path, document, capsys)
    assert (status, len(lines)) == (2, 1)
    assert lines[0].startswith("refused: two ledgers")


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
40 22 0:44 / /mnt/my\\040archive rw,relatime shared:2 master:1 - nfs4 server:/export rw,vers=4.2
41 40 0:45 / /mnt/my\\040archive/local rw - xfs /dev/vdb rw
42 22 0:46 / /mnt/twice rw - ext4 /dev/vdc rw
43 42 0:47 / /mnt/twice rw - cifs //server/share rw
"""


@pytest.mark.parametrize(
    ("path", "kind", "remote"),
    [
        ("/var/lib/orthanc", "ext4", False),
        ("/mnt/my archive/storage/not/yet/there", "nfs4", True),
        ("/mnt/my archive/local/x", "xfs", False),
        ("/mnt/twice/x", "cifs", True),
    ],
)
def test_the_kind_of_disk_is_that_of_the_nearest_mount(tmp_path: Path, path: str, kind: str, remote: bool) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert kind_of(Path(path), mounts) == kind
    assert is_remote(kind) == remote


def test_this_machine_s_mounts_can_be_read_and_their_absence_says_nothing(tmp_path: Path) -> None:
    assert kind_of(Path("/proc")) == "proc"
    assert kind_of(Path("/"), tmp_path / "absent") == ""


def test_a_network_disk_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "kind_of", lambda _: "nfs4")
    lines = list(advice.network_disk(parse(json.dumps({"DeferredDelete": {}}), Path("/etc/orthanc"))))
    assert "on a network disk (nfs4)" in lines[0]
    assert "a ledger on a network disk (nfs4) can be damaged" in lines[-1]
    assert not list(advice.network_disk(parse("{}", Path("/etc/orthanc"))))


def test_a_ledger_found_on_a_network_disk_is_told_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the index on a disk of this machine, a new one would not be there."""
    (tmp_path / "storage").mkdir()
    monkeypatch.setattr(advice, "kind_of", lambda path: "nfs4" if path == tmp_path / "storage" else "ext4")
    document = {"StorageDirectory": "storage", "IndexDirectory": "index", "DeferredDelete": {"Workers": 4}}
    assert not list(advice.network_disk(parse(json.dumps(document), tmp_path)))
    Ledger(tmp_path / "storage" / "deferred-deletions.db").close()
    (line,) = advice.network_disk(parse(json.dumps(document), tmp_path))
    assert line.endswith(f"move it to {tmp_path / 'index' / 'deferred-deletions.db'} while Orthanc is stopped")
