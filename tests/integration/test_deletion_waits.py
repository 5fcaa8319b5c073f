"""What a real Orthanc's deletion worker waits for, as operators see it."""

from __future__ import annotations

import datetime
import time
from pathlib import Path

import pytest

from deferred_delete.worker.schedule import DAYS
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import pending, study_of, wait_until_drained

pytestmark = pytest.mark.orthanc


def test_outside_the_schedule_files_stay_and_status_and_metrics_say_why(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    in_three_days = DAYS[(datetime.datetime.now().astimezone().weekday() + 3) % 7]
    sections = {"DeferredDelete": {"GracePeriod": 0, "Schedule": {in_three_days: ["0-24"]}}, "StageTiming": {}}
    with make_server(sections) as server:
        uploaded = http_upload(server, small_study[:5])
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        give_up = time.monotonic() + 60
        while (status := server.json("GET", "/deferred-delete/status"))["waiting_for"] != "schedule":
            assert time.monotonic() < give_up, status
            time.sleep(0.05)
        until = datetime.datetime.fromisoformat(status["waiting_until"])
        assert until.weekday() == DAYS.index(in_three_days)
        assert until.hour == 0
        assert pending(server) == len(server.attachment_files()) == 10
        metrics = server.request("GET", "/timing/metrics").data.decode()
        assert 'orthanc_bundle_deletion_waiting{reason="schedule"} 1' in metrics


def test_a_nearly_full_disk_overrules_schedule_and_limits(make_server: ServerFactory, small_study: list[Path]) -> None:
    """No disk is 99.9 % free."""
    in_three_days = DAYS[(datetime.datetime.now().astimezone().weekday() + 3) % 7]
    section = {
        "GracePeriod": 0,
        "Schedule": {in_three_days: ["0-24"]},
        "FilesPerSecond": 0.001,
        "MinimumFreeDiskPercent": 99.9,
    }
    with make_server({"DeferredDelete": section}) as server:
        uploaded = http_upload(server, small_study)
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        wait_until_drained(server)
        assert server.attachment_files() == []
        assert server.json("GET", "/deferred-delete/status")["disk_pressure"]
        assert "less than MinimumFreeDiskPercent (99.9): deleting at full speed" in server.log_text()
