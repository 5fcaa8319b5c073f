"""Whole studies deleted in the background, by a real Orthanc over its own REST API."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.orthanc_process import OrthancProcess
from harness.phantom import make_study
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import study_of, wait_until_drained
from tests.support.patched_bundle import patch_bundle

pytestmark = pytest.mark.orthanc

UNKNOWN = "-".join(["00000000"] * 5)
STUDIES = "/deferred-delete/studies"


def wait_for(what: Callable[[], Any], deadline_s: float = 60.0) -> Any:
    give_up = time.monotonic() + deadline_s
    while not (seen := what()):
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.02)
    return seen


def progress_of(server: OrthancProcess, orthanc_id: str) -> dict[str, Any]:
    return next(each for each in server.json("GET", STUDIES) if each["id"] == orthanc_id)


def ended(server: OrthancProcess, orthanc_id: str) -> dict[str, Any]:
    def state() -> dict[str, Any] | None:
        seen = progress_of(server, orthanc_id)
        return seen if seen["state"] not in ("queued", "running") else None

    return dict(wait_for(state))


def limit_deletions(server: OrthancProcess) -> Path:
    """Makes a server that is not started yet ask Orthanc for no more deletions than the file says that is returned."""
    most = server.folder / "most deletions"
    patch_bundle(
        server,
        f"""
import time
from deferred_delete.orthanc_client import OrthancClient
really_ask, asked = OrthancClient.ask, []
def ask(self, method, path, body=b""):
    if method == "DELETE":
        asked.append(path)
        while len(asked) > int(Path({str(most)!r}).read_text() or 0):
            time.sleep(0.02)
    return really_ask(self, method, path, body)
OrthancClient.ask = ask
""",
    )
    return most


def refusal(server: OrthancProcess, method: str, path: str, body: str) -> tuple[int, str]:
    answer = server.request(method, path, body)
    return answer.status, answer.data.decode()


def test_studies_series_and_protected_patients_go_in_the_background_and_others_stay(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 0}}) as server:
        study = study_of(server, http_upload(server, small_study)[0])
        other = http_upload(server, make_study(tmp_path / "other", slices=5, side=64, seed=8))
        patient = server.json("GET", f"/instances/{other[0]}/patient")["ID"]
        kept = http_upload(server, make_study(tmp_path / "kept", slices=3, side=64, seed=9))
        server.request("PUT", f"/patients/{patient}/protected", "1")
        assert server.json("POST", STUDIES, [study, patient, study, UNKNOWN])["queued"] == 3
        done = ended(server, study)
        assert (done["state"], done["level"], done["instances_total"], done["instances_done"]) == (
            "done",
            "study",
            40,
            40,
        )
        assert ended(server, patient)["level"] == "patient", "protection is from recycling, not from who asks to delete"
        unknown = ended(server, UNKNOWN)
        assert unknown["state"] == "unknown"
        assert "no patient, study or series" in unknown["message"]
        assert sorted(server.json("GET", "/instances")) == sorted(kept)
        wait_until_drained(server)


def test_what_is_no_identifier_is_refused_in_words(make_server: ServerFactory) -> None:
    with make_server({"DeferredDelete": {}}) as server:
        for body in ('["1.2.3"]', '{"a": 1}', "[]", "[5]", "no JSON"):
            status, text = refusal(server, "POST", STUDIES, body)
            assert status == 400, body
            assert "body" in text
        assert refusal(server, "POST", f"{STUDIES}/cancel", f'["{UNKNOWN}"]')[0] == 404
        assert server.json("GET", STUDIES) == []


def test_a_kill_and_a_cancel_leave_the_rest_and_arrivals_stay(make_server: ServerFactory, tmp_path: Path) -> None:
    paths = make_study(tmp_path / "study", slices=60, side=32, seed=11)
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    most = limit_deletions(server)
    most.write_text("20")
    with server:
        uploaded = http_upload(server, paths[:-2])
        study = study_of(server, uploaded[0])
        server.json("POST", STUDIES, [study])
        wait_for(lambda: len(server.json("GET", "/instances")) == 38)
        late = http_upload(server, paths[-2:])
    most.write_text("1000")
    with server:  # after a SIGKILL
        done = ended(server, study)
        assert done["instances_total"] == done["instances_done"] == 58
        assert "2 arrived after the start and stay" in done["message"]
        assert sorted(server.json("GET", "/instances")) == sorted(late)
        http_upload(server, paths)
    most.write_text("20")
    with server:
        server.json("POST", STUDIES, [study])
        wait_for(lambda: len(server.json("GET", "/instances")) == 40)
        (cancelled,) = server.json("POST", f"{STUDIES}/cancel", [study])
        assert "stay deleted" in cancelled["message"]
        assert cancelled["state"] == "cancelled"
        most.write_text("1000")
        time.sleep(0.2)
        assert len(server.json("GET", "/instances")) >= 39, "none goes but the one that was under way"


def test_ingest_goes_on_while_a_study_is_deleted(make_server: ServerFactory, tmp_path: Path) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 0}}) as server:
        uploaded = http_upload(server, make_study(tmp_path / "study", slices=200, side=32, seed=12))
        arriving = make_study(tmp_path / "arriving", slices=100, side=32, seed=13)
        study = study_of(server, uploaded[0])
        server.json("POST", STUDIES, [study])
        stored: list[str] = []
        sender = threading.Thread(target=lambda: stored.extend(http_upload(server, arriving)))
        sender.start()
        sender.join()
        assert ended(server, study)["instances_done"] == 200
        assert sorted(server.json("GET", "/instances")) == sorted(stored)


def test_it_works_with_authentication(make_server: ServerFactory, small_study: list[Path]) -> None:
    sections = {"DeferredDelete": {}, "AuthenticationEnabled": True, "RegisteredUsers": {"a": "b"}}
    with make_server(sections) as server:
        (instance,) = http_upload(server, small_study[:1])
        study = study_of(server, instance)
        server.json("POST", STUDIES, [study])
        assert ended(server, study)["instances_done"] == 1
