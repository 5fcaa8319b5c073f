"""Beside and after the C++ DelayedDeletion plugin, where the distribution ships it (Debian 13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.orthanc_process import OrthancError
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import study_of, wait_until_drained

PLUGIN = Path("/usr/share/orthanc/plugins/libDelayedDeletion.so")

pytestmark = [
    pytest.mark.orthanc,
    pytest.mark.skipif(not PLUGIN.exists(), reason="this distribution's Orthanc comes without libDelayedDeletion.so"),
]


@pytest.mark.parametrize("first", [True, False], ids=["loaded first", "loaded last"])
def test_both_at_once_are_refused_or_the_bundle_owns_the_storage(
    make_server: ServerFactory, small_study: list[Path], first: bool
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    plugins = server.configuration["Plugins"]
    server.configuration["Plugins"] = [str(PLUGIN), *plugins] if first else [*plugins, str(PLUGIN)]
    if first:
        with pytest.raises(OrthancError, match=r"libDelayedDeletion\.so is loaded and owns the storage area"):
            server.start()
        return
    # The core keeps the storage area that came first, which is ours, and refuses the other's with an error line.
    with server:
        (orthanc_id,) = http_upload(server, small_study[:1])
        server.json("DELETE", f"/instances/{orthanc_id}")
        assert server.json("GET", "/deferred-delete/status")["pending"] == 2


def test_switched_off_the_cpp_plugin_is_no_obstacle(make_server: ServerFactory) -> None:
    server = make_server({"DeferredDelete": {}, "DelayedDeletion": {"Enable": False}})
    server.configuration["Plugins"] = [str(PLUGIN), *server.configuration["Plugins"]]
    with server:
        assert server.json("GET", "/bundle/status")["Sections"] == ["DeferredDelete"]


def test_what_the_cpp_plugin_left_pending_is_taken_over(
    make_server: ServerFactory, tmp_path: Path, small_study: list[Path]
) -> None:
    folder = tmp_path / "archive"
    section = {"DelayedDeletion": {"Enable": True, "ThrottleDelayMs": 60_000}}
    before = make_server(section, bundle=False, folder=folder)
    before.configuration["Plugins"] = [str(PLUGIN)]
    with before:
        uploaded = http_upload(before, small_study[:10])
        before.json("DELETE", f"/studies/{study_of(before, uploaded[0])}")
        waiting = before.json("GET", "/plugins/delayed-deletion/status")["FilesPendingDeletion"]
        assert waiting > 5
        assert len(before.attachment_files()) >= waiting
    section["DelayedDeletion"]["ThrottleDelayMs"] = 0
    with make_server(section, folder=folder) as after:
        wait_until_drained(after)
        assert after.attachment_files() == []
        assert list(after.storage.glob("pending-deletions.*.db.taken-over"))
        assert not list(after.storage.glob("pending-deletions.*.db"))
