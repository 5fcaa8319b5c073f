"""What does not start in a real Orthanc is told, leaves the rest alone, and comes back where it can."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from harness import certificates
from harness.orthanc_process import BUNDLE
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import study_of, wait_until_drained
from tests.integration.test_studies import STUDIES, ended, wait_for

pytestmark = pytest.mark.orthanc

# Loads the bundle, and takes the ledger's write lock before Orthanc has started, until a file is there.
BUSY = """
import pathlib, sqlite3, sys, threading, time
MAIN = pathlib.Path({main!r})
sys.path.insert(0, str(MAIN.parents[1]))
exec(compile(MAIN.read_text(), str(MAIN), "exec"), {{"__file__": str(MAIN), "__name__": "main"}})
other = sqlite3.connect({ledger!r}, isolation_level=None, check_same_thread=False)
other.execute("BEGIN IMMEDIATE")
def let_go():
    while not pathlib.Path({free!r}).exists():
        time.sleep(0.05)
    other.close()
threading.Thread(target=let_go, daemon=True).start()
"""


def test_a_ledger_that_is_busy_at_the_start_stops_nothing(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 0}, "DicomAssociations": {}})
    script, free = tmp_path / "busy.py", tmp_path / "free"
    ledger = server.storage / "deferred-deletions.db"
    script.write_text(BUSY.format(main=str(BUNDLE / "plugin" / "main.py"), ledger=str(ledger), free=str(free)))
    server.configuration["PythonScript"] = str(script)
    with server:
        assert wait_for(lambda: server.json("GET", "/deferred-delete/status")["running"])
        assert server.json("GET", "/associations/status")["running"]
        uploaded = http_upload(server, small_study[:10])
        free.touch()
        study = study_of(server, uploaded[0])
        assert server.json("POST", STUDIES, [study])["queued"] == 1
        assert ended(server, study)["state"] == "done"
        wait_until_drained(server)


def test_client_certificates_are_told_of_at_the_start_and_by_the_check(
    make_server: ServerFactory, tmp_path: Path
) -> None:
    """Nothing is asked over TLS here: 1.10.1 crashes at the first request, without the bundle too."""
    made = certificates.make(tmp_path)
    both = tmp_path / "server.pem"
    both.write_text(made.certificate.read_text() + made.key.read_text())
    server = make_server(
        {
            "DeferredDelete": {},
            "SslEnabled": True,
            "SslCertificate": str(both),
            "SslVerifyPeers": True,
            "SslTrustedClientCertificates": str(made.certificate),
        }
    )
    server.spawn()
    wait_for(lambda: "Orthanc has started" in server.log_text())
    line = (
        "SslVerifyPeers: true: the bundle has no client certificate to ask Orthanc with: "
        "without it there is no background deletion"
    )
    assert server.log_text().count(line) == 1
    assert server.running
    done = subprocess.run(
        [BUNDLE / "bin" / "ingest-bundle", "plugin", "check", server.configuration_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert f"warning: {line}" in done.stdout


def test_without_tls_nobody_is_asked_for_a_certificate(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 0}, "SslVerifyPeers": True}) as server:
        study = study_of(server, http_upload(server, small_study[:3])[0])
        assert server.json("POST", STUDIES, [study])["queued"] == 1
        assert ended(server, study)["state"] == "done"
        assert "no client certificate" not in server.log_text()
