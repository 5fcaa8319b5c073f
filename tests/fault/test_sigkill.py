"""SIGKILL of a real Orthanc while it deletes: no accepted deletion is forgotten, no live attachment is lost."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import pytest
import urllib3

from harness.orthanc_process import OrthancError, OrthancProcess
from harness.phantom import make_study
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import end_grace_periods, study_of, wait_until_drained

pytestmark = pytest.mark.orthanc

SERVER_DIED = (OrthancError, urllib3.exceptions.HTTPError)


def known_to_orthanc(server: OrthancProcess) -> set[str]:
    """UUIDs of every attachment in Orthanc's index."""
    return {uuid for orthanc_id in server.json("GET", "/instances") for uuid in uuids_of(server, orthanc_id)}


def uuids_of(server: OrthancProcess, orthanc_id: str) -> set[str]:
    """UUIDs of one instance's attachments; `info` is new in Orthanc 1.10."""
    names = server.json("GET", f"/instances/{orthanc_id}/attachments")
    return {server.json("GET", f"/instances/{orthanc_id}/attachments/{name}/info")["Uuid"] for name in names}


def test_a_kill_right_after_the_delete_forgets_no_file(make_server: ServerFactory, small_study: list[Path]) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    server.start()
    uploaded = http_upload(server, small_study)
    server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
    server.kill()
    assert len(server.attachment_files()) >= len(small_study)

    with server:
        end_grace_periods(server)
        wait_until_drained(server)
        assert server.attachment_files() == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kills_at_random_moments_of_deleting_and_storing_lose_nothing(
    make_server: ServerFactory, tmp_path: Path
) -> None:
    """Six kills, seeded. What Orthanc's index names is readable; what else is on disk was never acknowledged."""
    moments = random.Random(20261121)
    server = make_server({"DeferredDelete": {"GracePeriod": 0, "ThrottleDelayMs": 2}})
    acknowledged: dict[str, bytes] = {}
    deleted: set[str] = set()
    for round_number in range(6):
        server.start()
        study = make_study(tmp_path / f"study {round_number}", slices=20, side=64, seed=100 + round_number)
        for orthanc_id, path in zip(http_upload(server, study), study, strict=True):
            acknowledged[orthanc_id] = path.read_bytes()
        victims = moments.sample(sorted(acknowledged), k=10)
        fresh = make_study(tmp_path / f"more {round_number}", slices=10, side=64, seed=500 + round_number)
        stored: dict[str, bytes] = {}

        def store(paths: list[Path] = fresh, into: dict[str, bytes] = stored) -> None:
            for path in paths:
                try:
                    (orthanc_id,) = http_upload(server, [path])
                except SERVER_DIED:
                    return
                into[orthanc_id] = path.read_bytes()

        client = threading.Thread(target=store)
        client.start()
        killer = threading.Timer(moments.uniform(0.0, 0.25), server.kill)
        killer.start()
        for victim in victims:
            try:
                doomed = uuids_of(server, victim)
                server.json("DELETE", f"/instances/{victim}")
            except SERVER_DIED:
                break  # neither acknowledged nor denied: Orthanc's index will tell
            deleted |= doomed
        killer.join()
        client.join()
        server.kill()
        acknowledged |= stored

        server.start()
        held = set(server.json("GET", "/instances"))
        # A deletion that was under way at the kill may have happened or not; nothing else may be missing.
        missing = set(acknowledged) - held
        assert missing <= set(victims)
        acknowledged = {orthanc_id: content for orthanc_id, content in acknowledged.items() if orthanc_id in held}
        for orthanc_id, content in acknowledged.items():
            assert server.request("GET", f"/instances/{orthanc_id}/file").data == content
        wait_until_drained(server)
        named = known_to_orthanc(server)
        on_disk = {path.name for path in server.attachment_files()}
        assert named <= on_disk, "the index names a file that is gone"
        assert not deleted & on_disk, "a deletion that Orthanc acknowledged is forgotten"
        server.stop()
    # What is on disk and in neither index nor ledger was written by a store that the kill cut off before Orthanc's
    # commit, or deleted from the index in a commit that the kill cut off before the storage area was told: at most a
    # few per kill.
    assert len(on_disk - named) <= 10 * 4
