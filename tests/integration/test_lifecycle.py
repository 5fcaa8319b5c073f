"""Starting, stopping and starting again, as init systems do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.senders import http_upload, storescu
from tests.conftest import ServerFactory
from tests.integration.test_deletion import wait_until_drained
from tests.integration.test_studies import wait_for
from tests.support.patched_bundle import patch_bundle

pytestmark = pytest.mark.orthanc


def test_a_busy_server_stops_cleanly_and_starts_again(make_server: ServerFactory, small_study: list[Path]) -> None:
    """On Debian 13 a REST callback freed without Python's lock ended each stop of Orthanc in a segmentation fault."""
    server = make_server()
    for part in (small_study[:10], small_study[10:20]):
        server.start()
        storescu(server, part[:5])
        http_upload(server, part[5:])
        assert server.request("GET", "/bundle/status").status == 200
        assert server.stop() == 0
    assert "Traceback" not in server.log_text()
    assert "traceback" not in server.log_text()


def test_a_reset_inside_the_process_ends_orthanc_with_a_line_that_says_what_to_do(make_server: ServerFactory) -> None:
    """POST /tools/reset starts Orthanc anew without a new process, which numpy does not survive."""
    server = make_server().start()
    assert server.request("POST", "/tools/reset", b"").status == 200
    assert server.process is not None
    server.process.wait(60)
    assert "refuses to start: Orthanc restarted inside its own process (/tools/reset)" in server.log_text()
    assert server.start().json("GET", "/bundle/status")["Sections"]


# The change callback begins while an instance is inside the callback that receives it, and the instance leaves it only
# when the change callback has ended. A call of the SDK that keeps Python's lock while it waits for the core's mutex,
# which the instance has, would end neither.
ARRIVES_DURING_START = """
import threading
from guard import Guard
from plugin.bundle import Bundle

inside, started = threading.Event(), threading.Event()
real_started, real_refusal = Bundle.started, Guard.refusal

def begin(self):
    inside.wait(60)
    real_started(self)
    started.set()

def refusal(self, *arguments):
    inside.set()
    started.wait(60)
    return real_refusal(self, *arguments)

Bundle.started, Guard.refusal = begin, refusal
"""


def test_an_instance_that_arrives_while_orthanc_starts_hangs_nothing(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 0}, "IngestGuard": {}})
    patch_bundle(server, ARRIVES_DURING_START)
    with server:
        dicom = small_study[0].read_bytes()
        answer = server.request("POST", "/instances", dicom, timeout=120, retries=False)
        assert answer.status == 200
        server.json("DELETE", f"/instances/{answer.json()['ID']}")
        wait_until_drained(server)


def test_a_status_is_answered_while_an_instance_is_received(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    """The C++ plugin's status names the database: from Orthanc 1.11.1 on the SDK is asked for it."""
    inside, leave = tmp_path / "inside", tmp_path / "leave"
    server = make_server({"DeferredDelete": {}, "IngestGuard": {}})
    server.configuration["Python"] = {"AllowThreads": False}
    patch_bundle(
        server,
        f"""
import time
from guard import Guard
real_refusal = Guard.refusal

def refusal(self, *arguments):
    Path({str(inside)!r}).touch()
    while not Path({str(leave)!r}).exists():
        time.sleep(0.01)
    return real_refusal(self, *arguments)

Guard.refusal = refusal
""",
    )
    with server, ThreadPoolExecutor(1) as sender:
        sent = sender.submit(server.request, "POST", "/instances", small_study[0].read_bytes())
        wait_for(inside.exists)
        try:
            status = server.request("GET", "/plugins/delayed-deletion/status", timeout=60, retries=False)
        finally:
            leave.touch()
        assert status.status == 200
        assert sent.result(60).status == 200
