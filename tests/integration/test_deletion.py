"""Deleting returns before the files go; they do go, and their folders with them; nothing else does."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload
from tests.conftest import ServerFactory

pytestmark = pytest.mark.orthanc

DEADLINE_S = 60


def pending(server: OrthancProcess) -> int:
    return int(server.json("GET", "/plugins/delayed-deletion/status")["FilesPendingDeletion"])


def wait_until_drained(server: OrthancProcess) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while left := pending(server):
        assert time.monotonic() < deadline, (
            f"{left} files still pending: {server.json('GET', '/deferred-delete/status')}"
        )
        time.sleep(0.05)


def wait_until_moved(server: OrthancProcess) -> None:
    """Until the ledger has everything that was in the journal."""
    deadline = time.monotonic() + DEADLINE_S
    while server.json("GET", "/deferred-delete/status")["in_journal"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def end_grace_periods(server: OrthancProcess) -> None:
    """As if they were over by now, for what waits; a test that lets them run needs a machine that is fast enough."""
    wait_until_moved(server)
    with sqlite3.connect(server.storage / "deferred-deletions.db", timeout=60) as ledger:
        ledger.execute("UPDATE pending SET next_attempt_at = 0")
    ledger.close()
    server.json("POST", "/deferred-delete/resume", {})  # the worker sleeps until what was the next time


def study_of(server: OrthancProcess, instance: str) -> str:
    return str(server.json("GET", f"/instances/{instance}/study")["ID"])


def test_a_deleted_study_waits_its_grace_period_and_then_goes_with_its_folders(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 3600}}) as server:
        uploaded = http_upload(server, small_study)
        files = server.attachment_files()
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        assert server.request("GET", f"/instances/{uploaded[0]}").status == 404
        assert pending(server) == len(files)
        assert server.attachment_files() == files, "nothing goes before its time"
        end_grace_periods(server)
        wait_until_drained(server)
        assert server.attachment_files() == []
        assert not [path for path in server.storage.glob("??") if path.is_dir()], "empty folders are left"


def test_other_studies_are_untouched(
    server: OrthancProcess, small_study: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from harness.phantom import make_study

    other = make_study(tmp_path_factory.mktemp("other"), slices=10, side=64, seed=8)
    uploaded, kept = http_upload(server, small_study), http_upload(server, other)
    server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
    wait_until_drained(server)
    for one in kept:
        assert server.request("GET", f"/instances/{one}/file").status == 200
    assert server.json("GET", "/statistics")["CountInstances"] == len(kept)


def test_an_overwritten_instance_s_old_files_go(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 0}, "OverwriteInstances": True}) as server:
        http_upload(server, small_study[:5])
        before = set(server.attachment_files())
        uploaded = http_upload(server, small_study[:5])
        wait_until_drained(server)
        after = set(server.attachment_files())
        assert len(after) == len(before)
        assert not before & after
        assert server.request("GET", f"/instances/{uploaded[0]}/file").data == small_study[0].read_bytes()


def test_pause_survives_a_restart_and_resume_drains(make_server: ServerFactory, small_study: list[Path]) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 0}})
    with server:
        assert server.request("GET", "/deferred-delete/pause").status == 405, "a GET never changes anything"
        assert server.json("POST", "/deferred-delete/pause", {})["paused"] is True
        uploaded = http_upload(server, small_study[:3])
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        server.wait_until_written()
        waiting = pending(server)
        assert waiting >= 3
    with server:
        assert pending(server) == waiting
        assert server.json("GET", "/deferred-delete/status")["paused"] is True
        assert len(server.attachment_files()) == waiting
        server.json("POST", "/deferred-delete/resume", {})
        wait_until_drained(server)
        assert server.attachment_files() == []


def test_the_cpp_plugin_s_section_turns_the_bundle_s_deletion_on_without_grace(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server({"DelayedDeletion": {"Enable": True, "ThrottleDelayMs": 1}}) as server:
        uploaded = http_upload(server, small_study[:10])
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        wait_until_drained(server)
        assert server.attachment_files() == []
        assert set(server.json("GET", "/plugins/delayed-deletion/status")) == {
            "DatabaseServerIdentifier",
            "FilesPendingDeletion",
        }


def test_a_stop_in_the_middle_of_a_drain_is_prompt_and_the_next_start_goes_on(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 0, "ThrottleDelayMs": 60_000}})
    with server:
        uploaded = http_upload(server, small_study)
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        left = pending(server)
        assert left > 10
        assert server.stop() == 0
    server.configuration["DeferredDelete"] = {"GracePeriod": 0}
    with server:
        wait_until_drained(server)
        assert server.attachment_files() == []
