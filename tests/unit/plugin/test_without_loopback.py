"""Where our threads cannot send requests to Orthanc, the log says so, and nothing waits for an answer.

Without a real Orthanc: its routes need an HTTP server, and 1.10.1 crashes at the first TLS request.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from plugin import rest
from plugin.bundle import Bundle
from plugin.check.rehearsal import RecordingSdk
from plugin.config import parse

CERTIFICATES = {"SslEnabled": True, "SslVerifyPeers": True}
NEEDS_ORTHANC = ("/deferred-delete/studies", "/deferred-delete/restore", "/deferred-delete/audit")


def bundle_of(folder: Path, options: dict[str, Any]) -> Bundle:
    document = {"StorageDirectory": str(folder), "DeferredDelete": {}, "DicomAssociations": {}, **options}
    return Bundle(RecordingSdk(), parse(json.dumps(document), folder))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"HttpServerEnabled": False}, "HttpServerEnabled: false: the bundle cannot ask Orthanc: expected true"),
        (
            CERTIFICATES,
            "SslVerifyPeers: true: the bundle has no client certificate to ask Orthanc with: expected false",
        ),
    ],
)
def test_the_routes_that_need_orthanc_say_why_they_do_nothing(
    tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    bundle = bundle_of(tmp_path, options)
    statuses = []
    for route in bundle.routes():
        if route.path.startswith(NEEDS_ORTHANC):
            with pytest.raises(rest.RefusedError, match=f"not possible: {words}") as refused:
                route.handler(rest.Request(route.path))
            statuses.append(refused.value.status)
    assert len(statuses) >= 9
    assert set(statuses) == {409}
    bundle.stopped()


def test_without_a_client_certificate_nothing_asks_and_the_worker_runs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = bundle_of(tmp_path, CERTIFICATES)
    bundle.started()
    assert bundle.deletion is not None
    assert bundle.deletion.deferred_delete.worker.status().running
    bundle.stopped()
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert line.startswith(
        "SslVerifyPeers: true: the bundle has no client certificate to ask Orthanc with: without it there is no "
    )
