"""Starting, stopping and starting again, as init systems do."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.senders import http_upload, storescu
from tests.conftest import ServerFactory

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
