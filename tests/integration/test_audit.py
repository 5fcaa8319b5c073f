"""The audit of a real Orthanc's storage: stopped, from its index; running, over its REST API."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from harness.orthanc_process import BUNDLE, OrthancProcess
from harness.phantom import make_study
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import study_of
from tests.integration.test_studies import wait_for

pytestmark = pytest.mark.orthanc

AUDIT = "/deferred-delete/audit"
HEADER = "dicom-until-pixel-data"


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "deferred_delete", "audit", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=BUNDLE,
        timeout=60,
    )


def audited(server: OrthancProcess) -> dict[str, Any]:
    server.json("POST", AUDIT, {})
    state: dict[str, Any] = wait_for(
        lambda: (seen := server.json("GET", AUDIT))["state"] not in ("none", "running") and seen, 60
    )
    assert state["state"] == "done", state
    return dict(state["report"])


def lose_one(server: OrthancProcess, instance: str) -> str:
    """Deletes the file of an instance behind Orthanc's back; returns its UUID."""
    name = attachment_of(server, instance, "dicom")
    file_of(server, name).unlink()
    return name


def attachment_of(server: OrthancProcess, instance: str, kind: str) -> str:
    """The UUID of one of an instance's attachments."""
    return str(server.json("GET", f"/instances/{instance}/attachments/{kind}/info")["Uuid"])


def file_of(server: OrthancProcess, name: str) -> Path:
    return server.storage / name[:2] / name[2:4] / name


def stopped_audit(server: OrthancProcess) -> tuple[set[str], dict[str, int]]:
    """The UUIDs of missing attachments, which are the only findings; and the totals."""
    *lines, totals = map(json.loads, command(server.storage, "--json").stdout.splitlines())
    assert {line["kind"] for line in lines} <= {"missing"}
    return {line["attachment_uuid"] for line in lines}, totals


def header_copies_without_a_file(server: OrthancProcess) -> int:
    with contextlib.closing(sqlite3.connect(f"{(server.storage / 'index').as_uri()}?mode=ro", uri=True)) as index:
        names = [row[0] for row in index.execute("SELECT uuid FROM AttachedFiles WHERE fileType = 3")]
    return sum(not file_of(server, name).exists() for name in names)


def test_a_stopped_orthanc_s_storage_is_compared_with_its_index(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    with server:
        uploaded = http_upload(server, small_study)
        server.wait_until_written()  # or the copy of the one that is lost may be lost with it
        lost = lose_one(server, uploaded[0])
        for instance in uploaded[30:]:
            server.json("DELETE", f"/instances/{instance}")
        refused = command(server.storage)
        assert refused.returncode == 2
        assert "in use" in refused.stderr
    # Killed: the index has a write-ahead log that only the audit has replayed.
    *lines, totals = map(json.loads, command(server.storage, "--json", "--young", "0").stdout.splitlines())
    assert [(line["kind"], line["attachment_uuid"]) for line in lines] == [("missing", lost)]
    assert (totals["attachments"], totals["waiting_files"], totals["files"]) == (60, 20, 79)
    with server:
        assert len(server.json("GET", "/instances")) == 30, "and Orthanc starts as before"


def test_after_a_kill_only_what_the_next_start_cannot_make_again_is_missing(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    with server:
        *unwritten, without_image, with_attachment = http_upload(server, small_study)
        server.request("PUT", f"/studies/{study_of(server, with_attachment)}/attachments/1024", b"a user's own")
        own = str(server.json("GET", f"/studies/{study_of(server, with_attachment)}/attachments/1024/info")["Uuid"])
        copies = {each: attachment_of(server, each, HEADER) for each in [*unwritten, without_image]}
        image = attachment_of(server, without_image, "dicom")
    # Killed, with copies in memory. A machine may have written some of them by then: these are as if it had not.
    for instance in [*unwritten[:5], without_image]:
        file_of(server, copies[instance]).unlink(missing_ok=True)
    assert header_copies_without_a_file(server) >= 6
    missing, totals = stopped_audit(server)
    assert (missing, totals["header_copies_to_rebuild"]) == (set(), header_copies_without_a_file(server))
    file_of(server, image).unlink()
    file_of(server, own).unlink()
    lost = {image, copies[without_image], own}
    missing, totals = stopped_audit(server)
    assert missing == lost
    assert totals["header_copies_to_rebuild"] == header_copies_without_a_file(server) - 1
    server.graceful = True
    with server:
        assert all(server.json("GET", f"/instances/{each}/tags") for each in unwritten)
    missing, totals = stopped_audit(server)
    assert (missing, totals["header_copies_to_rebuild"]) == (lost, 0)
    assert header_copies_without_a_file(server) == 1


@pytest.mark.parametrize("compression", [False, True], ids=["a proper stop", "StorageCompression"])
def test_a_header_copy_that_nobody_makes_again_is_missing(
    make_server: ServerFactory, small_study: list[Path], compression: bool
) -> None:
    """After a proper stop nobody looks for it; one that Orthanc has compressed is no copy of its image's beginning."""
    server = make_server({"DeferredDelete": {}, "StorageCompression": compression})
    server.graceful = not compression
    with server:
        (instance, *_) = http_upload(server, small_study)
        lost = attachment_of(server, instance, HEADER)
    file_of(server, lost).unlink()
    missing, totals = stopped_audit(server)
    assert (missing, totals["header_copies_to_rebuild"]) == ({lost}, 0)
    with server:
        assert not file_of(server, lost).exists()


def test_native_orthanc_s_index_is_locked_while_it_runs(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server(bundle=False) as server:
        http_upload(server, small_study[:2])
        answer = command(server.storage)
        assert answer.returncode == 2
        assert "database is locked" in answer.stderr
        assert "stop Orthanc" in answer.stderr


@pytest.mark.parametrize("compression", [False, True], ids=["plain files", "StorageCompression"])
def test_a_running_orthanc_is_asked_and_ingest_meanwhile_is_no_finding(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path, compression: bool
) -> None:
    server = make_server(
        {"DeferredDelete": {"GracePeriod": 0, "ThrottleDelayMs": 5}, "StorageCompression": compression}
    )
    with server:
        assert server.json("GET", AUDIT)["state"] == "none"
        uploaded = http_upload(server, small_study)
        server.request("PUT", f"/studies/{study_of(server, uploaded[0])}/attachments/1024", b"a user's own")
        stray = str(uuid.uuid4())
        place = server.storage / stray[:2] / stray[2:4] / stray
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(b"stray")
        server.wait_until_written()  # what is in memory is no file yet
        report = audited(server)
        assert (report["files"], report["attachments"], report["young_files"], report["orphans"]) == (82, 81, 1, 0)
        assert report["findings"] == []

        # What goes and comes while the audit runs is no finding; what is lost is.
        lost = lose_one(server, uploaded[0])
        others = make_study(tmp_path / "others", slices=60, side=32, seed=5)
        sender = threading.Thread(target=http_upload, args=(server, others))
        deleter = threading.Thread(
            target=lambda: [server.json("DELETE", f"/instances/{each}") for each in uploaded[10:]]
        )
        sender.start()
        deleter.start()
        report = audited(server)
        sender.join()
        deleter.join()
        assert [(each["kind"], each["attachment_uuid"]) for each in report["findings"]] == [("missing", lost)]


def test_a_stop_ends_an_audit_promptly(make_server: ServerFactory, small_study: list[Path]) -> None:
    server = make_server({"DeferredDelete": {}})
    with server:
        http_upload(server, small_study)
        server.json("POST", AUDIT, {})
        assert server.request("POST", AUDIT, "{}").status == 409
        assert server.stop(deadline_s=20) == 0
