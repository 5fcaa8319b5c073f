"""Disks that are full, read-only or hold a broken ledger, under a real Orthanc."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from harness.orthanc_process import OrthancError, OrthancProcess
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import DEADLINE_S, pending, study_of, wait_until_drained
from tests.support.patched_bundle import hold_header_copies

pytestmark = pytest.mark.orthanc


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True, capture_output=True)


def server_on(make_server: ServerFactory, disk: Path, ledger: Path) -> OrthancProcess:
    """Attachments on `disk`, Orthanc's index and the ledger elsewhere."""
    server = make_server(
        {"DeferredDelete": {"GracePeriod": 0, "Path": str(ledger), "RetryMin": 0.2, "RetryMax": 1}, "StageTiming": {}}
    )
    server.configuration |= {"StorageDirectory": str(disk), "IndexDirectory": str(server.folder / "index")}
    return server


def test_a_full_disk_refuses_the_instance_and_orthanc_goes_on(
    make_server: ServerFactory, small_disk: Path, tmp_path: Path, small_study: list[Path]
) -> None:
    with server_on(make_server, small_disk, tmp_path / "ledger.db") as server:
        filler = small_disk / "filler"
        stored = http_upload(server, small_study[:10])
        server.wait_until_written()
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler.write_bytes(b"x" * (free - 20_000))
        complete = server.attachment_files()
        assert server.request("POST", "/instances", small_study[20].read_bytes()).status >= 400
        assert server.attachment_files() == complete, "a partial file is left"
        assert "No space left" in server.log_text()
        for orthanc_id, path in zip(stored, small_study, strict=False):
            assert server.request("GET", f"/instances/{orthanc_id}/file").data == path.read_bytes()
        filler.unlink()
        assert server.request("POST", "/instances", small_study[20].read_bytes()).status == 200
        assert server.json("GET", "/timing/stages")["protocols"][0]["failed_writes"] == 1


def test_a_disk_that_fills_up_before_header_copies_are_written_loses_none(
    make_server: ServerFactory, small_disk: Path, tmp_path: Path, small_study: list[Path]
) -> None:
    """Neither while Orthanc runs, nor when killed and started on the full disk, nor after the next start with room."""
    filler = small_disk / "filler"
    server = server_on(make_server, small_disk, tmp_path / "ledger.db")
    release = hold_header_copies(server)

    def assert_readable(uploaded: list[str]) -> None:
        for orthanc_id in uploaded:
            assert server.json("GET", f"/instances/{orthanc_id}/simplified-tags")["Modality"] == "CT"

    with server:
        uploaded = http_upload(server, small_study[:10])
        filler.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
        release()
        deadline = time.monotonic() + DEADLINE_S
        while "header copy kept in memory" not in server.log_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert server.request("POST", "/instances", small_study[20].read_bytes()).status >= 400
        assert_readable(uploaded)
    with server:
        assert "could not be checked" in server.log_text()
        filler.unlink()
        server.stop()
    with server:
        assert_readable(uploaded)
        assert len(server.attachment_files()) == 2 * len(uploaded)


def test_a_read_only_storage_keeps_deletions_with_their_error_until_it_is_writable(
    make_server: ServerFactory, small_disk: Path, tmp_path: Path, small_study: list[Path]
) -> None:
    with server_on(make_server, small_disk, tmp_path / "ledger.db") as server:
        uploaded = http_upload(server, small_study[:10])
        study = study_of(server, uploaded[0])
        server.wait_until_written()
        mount("-o", "remount,ro", str(small_disk))
        server.json("DELETE", f"/studies/{study}")
        deadline = time.monotonic() + DEADLINE_S
        while "Read-only file system" not in str(server.json("GET", "/deferred-delete/status")["last_error"]):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        waiting = pending(server)
        assert waiting == len(server.attachment_files()) > 0
        mount("-o", "remount,rw", str(small_disk))
        wait_until_drained(server)
        assert server.attachment_files() == []


def test_deletions_are_not_forgotten_when_the_ledger_s_disk_is_full(
    make_server: ServerFactory, small_disk: Path, tmp_path: Path, small_study: list[Path]
) -> None:
    with server_on(make_server, tmp_path / "storage", small_disk / "ledger.db") as server:
        uploaded = http_upload(server, small_study)
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        (small_disk / "filler").write_bytes(b"x" * free)
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        deadline = time.monotonic() + DEADLINE_S
        while server.attachment_files():
            assert time.monotonic() < deadline, server.json("GET", "/deferred-delete/status")
            time.sleep(0.1)


def test_a_locked_ledger_neither_blocks_nor_loses_a_deletion(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 0}}) as server:
        uploaded = http_upload(server, small_study[:10])
        with sqlite3.connect(server.storage / "deferred-deletions.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
            other.execute("ROLLBACK")
        deadline = time.monotonic() + DEADLINE_S
        while server.attachment_files():
            assert time.monotonic() < deadline, server.json("GET", "/deferred-delete/status")
            time.sleep(0.1)


@pytest.mark.parametrize(
    "content",
    [
        b"this is a text file that somebody saved here\n" * 100,
        # SQLite's header and then rubbish, as after a torn write.
        b"SQLite format 3\x00" + b"\x10\x00\x01\x01\x00\x40\x20\x20" + b"\xff" * 8192,
    ],
    ids=["text", "torn"],
)
def test_a_ledger_that_is_none_stops_the_start_and_is_left_as_it_was(
    make_server: ServerFactory, content: bytes
) -> None:
    server = make_server()
    ledger = server.storage / "deferred-deletions.db"
    ledger.parent.mkdir(parents=True)
    ledger.write_bytes(content)
    with pytest.raises(OrthancError, match=r"refuses to start: .*deferred-deletions\.db"):
        server.start()
    assert ledger.read_bytes() == content


def test_two_orthancs_cannot_share_one_ledger(make_server: ServerFactory, tmp_path: Path) -> None:
    ledger = {"DeferredDelete": {"Path": str(tmp_path / "shared.db")}}
    second = make_server(ledger)
    with make_server(ledger), pytest.raises(OrthancError, match=r"refuses to start: .*shared\.db"):
        second.start()
