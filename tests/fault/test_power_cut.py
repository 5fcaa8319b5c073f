"""What a power cut does to two databases that are synced at different moments, acted out with a real Orthanc.

The machine cannot be switched off here. What it would leave is made by hand: Orthanc's index as it was before the
deletion, the ledger as it was after, and the boot identity of another boot in the ledger.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from harness.orthanc_process import OrthancError, OrthancProcess
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import study_of, wait_until_drained, wait_until_moved
from tests.support.patched_bundle import hold_header_copies

pytestmark = pytest.mark.orthanc


def index_files(server: OrthancProcess) -> list[Path]:
    return [path for path in server.storage.iterdir() if path.name.startswith("index")]


def fall_back(server: OrthancProcess, copies: Path) -> None:
    """Puts the index back, and makes the ledger believe that this is another boot of the machine."""
    for path in index_files(server):
        path.unlink()
    for path in copies.iterdir():
        shutil.copy(path, server.storage / path.name)
    with sqlite3.connect(server.storage / "deferred-deletions.db") as ledger:
        ledger.execute("UPDATE facts SET value = 'another boot' WHERE name = 'boot_id'")


@pytest.fixture
def after_the_cut(
    make_server: ServerFactory, tmp_path: Path, small_study: list[Path]
) -> tuple[OrthancProcess, list[str]]:
    """A server that is down: its index knows ten instances whose deletion is in the ledger."""
    copies = tmp_path / "index before"
    copies.mkdir()
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    server.start()
    uploaded = http_upload(server, small_study[:10])
    server.stop()
    for path in index_files(server):
        shutil.copy(path, copies / path.name)
    server.start()
    server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
    wait_until_moved(server)
    server.kill()
    fall_back(server, copies)
    # Due at once, so that nothing but the check stands between the worker and the files.
    with sqlite3.connect(server.storage / "deferred-deletions.db") as ledger:
        ledger.execute("UPDATE pending SET next_attempt_at = 0")
    return server, uploaded


def test_attachments_that_the_index_knows_again_are_not_unlinked(
    after_the_cut: tuple[OrthancProcess, list[str]], small_study: list[Path]
) -> None:
    server, uploaded = after_the_cut
    with server:
        wait_until_drained(server)
        for orthanc_id, path in zip(uploaded, small_study, strict=False):
            assert server.request("GET", f"/instances/{orthanc_id}/file").data == path.read_bytes()
        assert "of 20 deletions then in the air 20 are withdrawn" in server.log_text()


def test_an_index_that_cannot_be_asked_stops_the_start(after_the_cut: tuple[OrthancProcess, list[str]]) -> None:
    server, _ = after_the_cut
    (server.storage / "index").write_bytes(b"not a database" * 1000)
    with pytest.raises(OrthancError, match="refuses to start: cannot ask Orthanc's index"):
        server.start()


def test_without_an_index_to_ask_the_ledger_is_believed(after_the_cut: tuple[OrthancProcess, list[str]]) -> None:
    """As where PostgreSQL serves Orthanc."""
    server, _ = after_the_cut
    for path in index_files(server):
        path.unlink()
    with server:
        wait_until_drained(server)
        assert server.attachment_files() == []
        assert "nobody can say which deletions Orthanc forgot" in server.log_text()


def header_uuid(server: OrthancProcess, orthanc_id: str) -> str:
    return str(server.json("GET", f"/instances/{orthanc_id}/attachments/dicom-until-pixel-data/info")["Uuid"])


def test_header_copies_that_a_power_cut_tore_are_whole_again_before_orthanc_serves(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    """They are not synced: a power cut leaves those that Orthanc's index knows missing, empty or full of zeroes."""
    server = make_server({"DeferredDelete": {}})
    server.start()
    uploaded = http_upload(server, small_study[:10])
    tags = [server.json("GET", f"/instances/{orthanc_id}/tags") for orthanc_id in uploaded]
    names = [header_uuid(server, orthanc_id) for orthanc_id in uploaded]
    server.wait_until_written()
    server.kill()
    files = {path.name: path for path in server.attachment_files()}
    for number, name in enumerate(names[:9]):
        if number % 3 == 0:
            files[name].unlink()
        else:
            files[name].write_bytes(bytes(files[name].stat().st_size if number % 3 == 1 else 0))
    with server:
        assert [server.json("GET", f"/instances/{orthanc_id}/tags") for orthanc_id in uploaded] == tags
        assert "of the 10 newest header copies 9 were torn or missing" in server.log_text()


def test_header_copies_that_were_in_memory_only_are_there_again_before_orthanc_serves(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    """Killed while a study comes in: its header copies are not on the disk yet."""
    server = make_server({"DeferredDelete": {}})
    release = hold_header_copies(server)
    server.start()
    uploaded = http_upload(server, small_study)
    server.kill()
    # All are held but those of instances that came before ORTHANC_STARTED.
    assert len(uploaded) <= len(server.attachment_files()) < 2 * len(uploaded)
    release()
    with server:
        for orthanc_id, path in zip(uploaded, small_study, strict=True):
            assert server.json("GET", f"/instances/{orthanc_id}/simplified-tags")["Modality"] == "CT"
            assert server.request("GET", f"/instances/{orthanc_id}/file").data == path.read_bytes()
        assert "were torn or missing" in server.log_text()
        assert len(server.attachment_files()) == 2 * len(uploaded)


def test_a_proper_stop_leaves_every_header_copy_on_the_disk(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server({"DeferredDelete": {}})
    server.start()
    uploaded = http_upload(server, small_study)
    server.stop()
    assert len(server.attachment_files()) == 2 * len(uploaded)
    with server:
        assert "were torn or missing" not in server.log_text()


def wait_until_traced(pid: int) -> None:
    """Until strace has every thread of the process."""
    deadline = time.monotonic() + 60
    while any("TracerPid:\t0\n" in task.read_text() for task in Path(f"/proc/{pid}/task").glob("*/status")):
        assert time.monotonic() < deadline, "strace did not attach"
        time.sleep(0.05)


@pytest.mark.parametrize(("sections", "syncs"), [({}, 10), ({"SyncHeaders": True}, 20)], ids=["by default", "if asked"])
def test_a_real_orthanc_syncs_each_image_and_its_header_only_if_asked(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path, sections: dict[str, bool], syncs: int
) -> None:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    with make_server({"DeferredDelete": sections}) as server:
        assert server.process is not None
        trace = tmp_path / "trace"
        command = ["strace", "-qq", "-f", "-y", "-e", "fdatasync", "-o", str(trace), "-p", str(server.process.pid)]
        tracer = subprocess.Popen(command)
        wait_until_traced(server.process.pid)
        server.http.clear()  # Orthanc lets a connection go that was idle for a second, perhaps just now
        http_upload(server, small_study[:10])
        tracer.terminate()
        tracer.wait()
        assert (
            sum(bool(re.search(r"/[0-9a-f]{8}-[-0-9a-f]{27}>", line)) for line in trace.read_text().splitlines())
            == syncs
        )
