"""The audit of a real Orthanc's storage: stopped, from its index; running, over its REST API."""

from __future__ import annotations

import json
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
    name = str(server.json("GET", f"/instances/{instance}/attachments/dicom/info")["Uuid"])
    (server.storage / name[:2] / name[2:4] / name).unlink()
    return name


def test_a_stopped_orthanc_s_storage_is_compared_with_its_index(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    with server:
        uploaded = http_upload(server, small_study)
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
