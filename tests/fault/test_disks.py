"""Disks that are full, read-only or hold a broken ledger, under a real Orthanc."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from harness.orthanc_process import OrthancError, OrthancProcess
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.fault.conftest import Ext4Disk
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


JOURNAL = "deferred-deletions.db.intake"


def wait_until_gone(server: OrthancProcess) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while server.attachment_files():
        assert time.monotonic() < deadline, server.json("GET", "/deferred-delete/status")
        time.sleep(0.1)


def test_a_full_disk_under_everything_is_freed_by_deletions(
    make_server: ServerFactory, small_disk: Path, small_study: list[Path]
) -> None:
    """Index, ledger, journal and files are on it. Neither a second ledger page nor a new segment would find room."""
    sections = {"DeferredDelete": {"GracePeriod": 0, "RetryMin": 0.2, "RetryMax": 1}}
    server = make_server(sections, folder=small_disk)
    with server:
        uploaded = http_upload(server, small_study[:10])
        study = study_of(server, uploaded[0])
        server.wait_until_written()
        server.json("POST", "/deferred-delete/pause", {})
        room = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        filler = small_disk / "filler"
        filler.write_bytes(b"x" * (room - 300_000))  # Orthanc's index takes the deletion
        server.json("DELETE", f"/studies/{study}")
        with filler.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(b"x" * 1000):
                pass
        assert len(server.attachment_files()) == 2 * len(uploaded)
        with contextlib.suppress(OrthancError):  # that the pause is over cannot be recorded, perhaps
            server.json("POST", "/deferred-delete/resume", {})
        if server.json("GET", "/deferred-delete/status")["paused"]:
            filler.unlink()
            server.json("POST", "/deferred-delete/resume", {})
        wait_until_gone(server)
        assert server.json("GET", "/deferred-delete/status")["lost"] == 0


@pytest.fixture
def with_leftovers(make_server: ServerFactory, small_study: list[Path]) -> tuple[OrthancProcess, Path]:
    """A server that was killed with deletions in its journal and none of them in its ledger; and that journal."""
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    with server:
        uploaded = http_upload(server, small_study[:10])
        server.wait_until_written()
        with sqlite3.connect(server.storage / "deferred-deletions.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")  # the ledger takes nothing
            server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
            assert pending(server) == 2 * len(uploaded)
            server.kill()
        other.close()
    return server, server.storage / JOURNAL


def contents_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def first_segment(journal: Path) -> Path:
    return min(journal.glob("*.segment"))


def test_what_a_kill_left_in_the_journal_is_drained(with_leftovers: tuple[OrthancProcess, Path]) -> None:
    server, journal = with_leftovers
    assert contents_of(journal)[first_segment(journal).name][64:128] != bytes(64)
    with server:
        assert pending(server) == 20
        assert server.json("GET", "/deferred-delete/status")["in_journal"] == 0
        server.json("POST", "/deferred-delete/drain", {})
        wait_until_drained(server)
        assert server.attachment_files() == []


@pytest.mark.parametrize(
    ("damage", "read"),
    [("a flipped bit", 19), ("cut", 7), ("a flipped bit in the header", 20)],
    ids=["record", "length", "header"],
)
def test_a_damaged_journal_costs_what_is_damaged_and_is_kept(
    with_leftovers: tuple[OrthancProcess, Path], damage: str, read: int
) -> None:
    server, journal = with_leftovers
    segment = first_segment(journal)
    content = bytearray(segment.read_bytes())
    if damage == "cut":
        content = content[: 64 * 8 + 17]
    else:
        content[40 if "header" in damage else 64 * 5 + 40] ^= 4
    segment.write_bytes(content)
    with server:
        (line,) = [each for each in server.log_text().splitlines() if " is damaged (" in each]
        assert line.startswith("E")
        assert f"{read} deletions were read" in line
        assert pending(server) == read
        assert (journal / f"{segment.name}.damaged").read_bytes() == content
        server.json("POST", "/deferred-delete/drain", {})
        wait_until_drained(server)
        assert len(server.attachment_files()) == 20 - read, "orphans for an audit to find"


def test_a_journal_of_a_later_version_stops_the_start_and_everything_is_left_as_it_was(
    with_leftovers: tuple[OrthancProcess, Path],
) -> None:
    server, journal = with_leftovers
    segment = first_segment(journal)
    content = bytearray(segment.read_bytes())
    content[8:12] = (2).to_bytes(4, "little")
    content[60:64] = zlib.crc32(content[:60]).to_bytes(4, "little")
    segment.write_bytes(content)
    before, files = contents_of(journal), server.attachment_files()
    with pytest.raises(
        OrthancError, match=r"refuses to start: the segment .* has version 2: expected 1; a newer version"
    ):
        server.start()
    assert (contents_of(journal), server.attachment_files()) == (before, files)
    with sqlite3.connect(server.storage / "deferred-deletions.db") as ledger:
        assert ledger.execute("SELECT count(*) FROM pending").fetchone() == (0,)
    ledger.close()


def test_a_journal_of_another_ledger_is_set_aside(
    with_leftovers: tuple[OrthancProcess, Path], make_server: ServerFactory, small_study: list[Path]
) -> None:
    """Copied to another archive, say, whose attachments of these names may be alive."""
    _, journal = with_leftovers
    server = make_server({"DeferredDelete": {"GracePeriod": 0}})
    with server:
        uploaded = http_upload(server, small_study[:3])
        server.stop()
    theirs = first_segment(journal)
    shutil.copy(theirs, server.storage / JOURNAL / "00000000000099999999.segment")
    with server:
        assert "is of another ledger: its deletions are not taken" in server.log_text()
        assert pending(server) == 0
        assert server.request("GET", f"/instances/{uploaded[0]}/file").status == 200
    kept = server.storage / JOURNAL / "00000000000099999999.segment.of-another-ledger"
    assert kept.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize("obstacle", ["read-only", "a file"])
def test_a_journal_that_cannot_be_written_stops_the_start_in_one_line(
    make_server: ServerFactory, obstacle: str
) -> None:
    server = make_server({"DeferredDelete": {}})
    journal = server.storage / JOURNAL
    journal.parent.mkdir(parents=True)
    if obstacle == "a file":
        journal.write_text("somebody's notes")
    else:
        if os.geteuid() != 0:
            pytest.skip("mounting a file system needs root")
        journal.mkdir()
        mount("--bind", str(journal), str(journal))
        mount("-o", "remount,bind,ro", str(journal))
    try:
        with pytest.raises(OrthancError, match=r"refuses to start: cannot make the segment .*; expected a folder that"):
            server.start()
    finally:
        if obstacle == "read-only":
            subprocess.run(["umount", str(journal)], check=True)


def test_orthanc_goes_on_when_the_disk_of_ledger_and_journal_is_gone(
    make_server: ServerFactory, ext4_disk: Ext4Disk, tmp_path: Path, small_study: list[Path]
) -> None:
    """A page that was written back and is written to again needs the disk: there must be no SIGBUS."""
    server = server_on(make_server, tmp_path / "storage", ext4_disk.folder / "ledger.db")
    with server:
        uploaded = http_upload(server, small_study[:20])
        server.json("DELETE", f"/instances/{uploaded[0]}")
        server.wait_until_written()
        ext4_disk.write_back()
        ext4_disk.cut()
        server.json("DELETE", f"/studies/{study_of(server, uploaded[1])}")
        wait_until_gone(server)
        for orthanc_id, path in zip(http_upload(server, small_study), small_study, strict=True):
            assert server.request("GET", f"/instances/{orthanc_id}/file").data == path.read_bytes()
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        assert server.request("GET", "/deferred-delete/status").status in {200, 500}
        wait_until_gone(server)
        assert "the journal and its ledger: " in server.log_text()
        assert server.running
