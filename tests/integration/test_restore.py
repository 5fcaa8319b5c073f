"""A deleted study is brought back by a real Orthanc while its files wait; no file goes before that is proven."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from harness.orthanc_process import OrthancProcess
from harness.phantom import make_study
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import end_grace_periods, study_of, wait_until_drained
from tests.integration.test_studies import STUDIES, ended, progress_of, wait_for

pytestmark = pytest.mark.orthanc

RESTORE = "/deferred-delete/restore"
DELETED = "/deferred-delete/studies/deleted"


def uid_of(path: Path) -> str:
    return str(dcmread(path, stop_before_pixels=True).StudyInstanceUID)


def restored(server: OrthancProcess, study_uid: str) -> dict[str, Any]:
    def end() -> dict[str, Any] | None:
        seen: dict[str, Any] = server.json("GET", RESTORE)[0]
        assert seen["study_instance_uid"] == study_uid
        return seen if seen["state"] in ("done", "incomplete", "cancelled") else None

    return dict(wait_for(end, 60))


def ask_back(server: OrthancProcess, study_uid: str) -> dict[str, Any]:
    return dict(server.json("POST", RESTORE, {"StudyInstanceUID": study_uid}))


def assert_holds(server: OrthancProcess, paths: list[Path], uploaded: list[str]) -> None:
    for path, orthanc_id in zip(paths, uploaded, strict=True):
        assert server.request("GET", f"/instances/{orthanc_id}/file").data == path.read_bytes()


@pytest.mark.parametrize("compression", [False, True], ids=["plain files", "StorageCompression"])
def test_a_deleted_study_is_listed_and_comes_back_whole(
    make_server: ServerFactory, small_study: list[Path], compression: bool
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 3600}, "StorageCompression": compression}) as server:
        uploaded = http_upload(server, small_study)
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        (listed,) = wait_for(lambda: [s for s in server.json("GET", DELETED)["studies"] if s["instances"] == 40])
        header = dcmread(small_study[0], stop_before_pixels=True)
        assert (listed["patient_id"], listed["study_date"]) == (header.PatientID, header.StudyDate)
        assert (listed["modality"], listed["patient_name"]) == (header.Modality, str(header.PatientName))
        # From the last deletion to the first that is due: less than the hour by what deleting the study took.
        assert 3000 < listed["restorable_until"] - listed["deleted_at"] <= 3600
        assert listed["bytes"] > 10_000
        old = {path.name for path in server.attachment_files()}

        ask_back(server, uid_of(small_study[0]))
        done = restored(server, uid_of(small_study[0]))
        assert done["state"] == "done"
        assert done["outcomes"] == {"restored": 40}
        assert done["message"] == "40 of 40 instances are back"
        assert_holds(server, small_study, uploaded)
        assert server.json("GET", DELETED)["studies"] == [], "what is back is not offered again"
        # The old files are left to the worker, in their time; nothing is held any more.
        wait_for(lambda: server.json("GET", "/deferred-delete/status")["pending"] == len(old))
        wait_for(lambda: restored(server, uid_of(small_study[0]))["files_held"] == 0)

        # Twice: nothing is left to bring back, and nothing is harmed.
        again = ask_back(server, uid_of(small_study[0]))
        assert again["state"] in ("gathering", "importing", "incomplete")
        assert "nothing of this study waits" in restored(server, uid_of(small_study[0]))["error"]
        assert_holds(server, small_study, uploaded)


def test_a_restore_in_the_middle_of_a_drain_says_what_was_gone(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 3600, "ThrottleDelayMs": 500}}) as server:
        uploaded = http_upload(server, small_study)
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        wait_for(lambda: [s for s in server.json("GET", DELETED)["studies"] if s["instances"] == 40])
        end_grace_periods(server)
        wait_for(lambda: [s for s in server.json("GET", DELETED)["studies"] if s["instances"] < 37], 100)
        ask_back(server, uid_of(small_study[0]))
        done = restored(server, uid_of(small_study[0]))
        back = done["outcomes"]["restored"]
        assert done["state"] == "incomplete"
        assert done["instances_gone"] == 40 - back
        assert 0 < back < 40
        assert f"{back} of 40 instances are back; {40 - back} had been unlinked already" in done["message"]
        assert len(server.json("GET", "/instances")) == back


@pytest.mark.slow
def test_kills_in_the_middle_of_restores_during_a_full_speed_drain_lose_nothing(
    make_server: ServerFactory, tmp_path: Path
) -> None:
    """What a restore held is in Orthanc at the end, bit for bit; everything else was said to be gone."""
    moments = random.Random(3)
    paths = make_study(tmp_path / "study", slices=60, side=64, seed=31)
    other = make_study(tmp_path / "other", slices=300, side=32, seed=32)
    study_uid = uid_of(paths[0])
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    for _ in range(2):
        with server:
            uploaded = http_upload(server, paths)
            bulk = http_upload(server, other)
            server.json("DELETE", f"/studies/{study_of(server, bulk[0])}")
            server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
            wait_for(
                lambda: [s for s in server.json("GET", DELETED)["studies"] if s["study_instance_uid"] == study_uid]
            )
            end_grace_periods(server)
            time.sleep(moments.uniform(0.0, 0.3))
            ask_back(server, study_uid)
            time.sleep(moments.uniform(0.0, 0.3))
        with server:  # after a SIGKILL
            done = restored(server, study_uid)
            end_grace_periods(server)
            wait_until_drained(server)
            held = set(server.json("GET", "/instances"))
            back = done["outcomes"].get("restored", 0)
            assert len(held & set(uploaded)) == back, done
            assert back + done["instances_gone"] + done["outcomes"].get("gone", 0) == 60 or not back, done
            for path, orthanc_id in zip(paths, uploaded, strict=True):
                if orthanc_id in held:
                    assert server.request("GET", f"/instances/{orthanc_id}/file").data == path.read_bytes()
            if held:
                server.json("DELETE", f"/studies/{study_of(server, next(iter(held)))}")
                end_grace_periods(server)
                wait_until_drained(server)


def test_another_version_in_orthanc_is_not_overwritten_and_the_old_files_stay_until_released(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 1}}) as server:
        server.json("POST", "/deferred-delete/pause", {})
        uploaded = http_upload(server, small_study[:5])
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        changed = dcmread(small_study[0])
        changed.PatientComments = "another version"
        changed.save_as(tmp_path / "changed.dcm")
        http_upload(server, [tmp_path / "changed.dcm", small_study[1]])
        wait_for(lambda: server.json("GET", DELETED)["studies"])
        ask_back(server, uid_of(small_study[0]))
        done = restored(server, uid_of(small_study[0]))
        assert done["state"] == "incomplete"
        assert done["outcomes"] == {"restored": 4, "differs": 1}
        # What came back is given back to the worker after the end is written down.
        wait_for(lambda: restored(server, uid_of(small_study[0]))["files_held"] == 1)
        (detail,) = done["details"]
        assert "OverwriteInstances" in detail[2]
        server.json("POST", "/deferred-delete/resume", {})
        wait_until_drained(server)
        on_disk = len(server.attachment_files())
        assert on_disk == 5 * 2 + 1, "five live images, and the one file that is held"
        assert server.json("POST", f"{RESTORE}/release", {"StudyInstanceUID": uid_of(small_study[0])})["released"] == 1
        wait_for(lambda: len(server.attachment_files()) == 10)


@pytest.mark.parametrize("target", ["JPEGLSLossless", "JPEGLosslessSV1"])
def test_ingest_transcoding_applies_again_and_is_proven(
    make_server: ServerFactory, small_study: list[Path], target: str
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    with server:
        uploaded = http_upload(server, small_study[:5])
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
    server.configuration["IngestTranscoder"] = {"Default": target}
    with server:
        ask_back(server, uid_of(small_study[0]))
        done = restored(server, uid_of(small_study[0]))
        assert done["outcomes"] == {"transcoded": 5}, done
        assert done["state"] == "done"
        assert "5 of them transcoded" in done["message"]


def test_a_restore_asked_for_while_a_deletion_runs_and_the_deletion_both_end(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 3600}}) as server:
        uploaded = http_upload(server, small_study)
        other = http_upload(server, make_study(tmp_path / "other", slices=400, side=32, seed=41))
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        running = study_of(server, other[0])
        server.json("POST", STUDIES, [running])
        wait_for(lambda: progress_of(server, running)["instances_done"] >= 10)
        ask_back(server, uid_of(small_study[0]))
        assert progress_of(server, running)["state"] == "running"
        assert restored(server, uid_of(small_study[0]))["state"] == "done"
        assert ended(server, running)["state"] == "done"
        assert sorted(server.json("GET", "/instances")) == sorted(uploaded)
        assert_holds(server, small_study, uploaded)


def filled(disk: Path) -> None:
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(b"x" * free)


def full_server(make_server: ServerFactory, disk: Path, ledger: Path) -> OrthancProcess:
    """Attachments on `disk`, Orthanc's index and the ledger elsewhere."""
    server = make_server({"DeferredDelete": {"GracePeriod": 0, "Path": str(ledger)}})
    server.configuration |= {"StorageDirectory": str(disk), "IndexDirectory": str(server.folder / "index")}
    return server


def stuck_restore(server: OrthancProcess, disk: Path, paths: list[Path]) -> None:
    """A study is deleted, the disk fills up, and its restore meets that."""
    server.json("POST", "/deferred-delete/pause", {})
    uploaded = http_upload(server, paths)
    server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
    server.wait_until_written()
    filled(disk)
    ask_back(server, uid_of(paths[0]))
    wait_for(lambda: server.json("GET", RESTORE)[0]["error"])
    assert server.json("GET", RESTORE)[0]["state"] == "importing"
    server.json("POST", "/deferred-delete/resume", {})


def test_a_deletion_frees_the_full_disk_that_a_restore_waits_for(
    make_server: ServerFactory, small_study: list[Path], small_disk: Path, tmp_path: Path
) -> None:
    with full_server(make_server, small_disk, tmp_path / "ledger.db") as server:
        other = http_upload(server, make_study(tmp_path / "other", slices=40, side=64, seed=42))
        large = study_of(server, other[0])
        stuck_restore(server, small_disk, small_study[:10])
        server.json("POST", STUDIES, [large])
        assert ended(server, large)["state"] == "done"
        done = restored(server, uid_of(small_study[0]))
        assert (done["state"], done["error"]) == ("done", None)
        assert len(server.json("GET", "/instances")) == 10


def test_a_restore_that_gets_nowhere_is_cancelled_and_its_files_go(
    make_server: ServerFactory, small_study: list[Path], small_disk: Path, tmp_path: Path
) -> None:
    with full_server(make_server, small_disk, tmp_path / "ledger.db") as server:
        body = {"StudyInstanceUID": uid_of(small_study[0])}
        assert server.request("POST", f"{RESTORE}/cancel", json.dumps(body)).status == 404
        stuck_restore(server, small_disk, small_study[:10])
        cancelled = server.json("POST", f"{RESTORE}/cancel", body)
        assert (cancelled["state"], cancelled["files_held"]) == ("cancelled", 0)
        assert "0 of 10 instances are back; cancelled" in cancelled["message"]
        wait_until_drained(server)
        assert server.attachment_files() == []
        assert server.json("GET", "/instances") == []
