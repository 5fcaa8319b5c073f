"""The check reads configuration files as a live Orthanc does, and says the same as its start."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.orthanc_process import BUNDLE, OrthancError, OrthancProcess
from plugin.check.orthanc_files import read
from tests.conftest import ServerFactory

pytestmark = pytest.mark.orthanc

ODD = """{
  /* a comment of
     two lines, with ${INGEST_NAME} */
  "Name" : "${INGEST_NAME}", // "Name" : "no",
  "DicomAet" : "${INGEST_AET:-CHECKED}",
  "OrthancPeers" : {
    "a" : [ "http://localhost:${INGEST_PORT:-"8043"}/" ], "b" : [ "http://${INGEST_HOST:-'localhost'}:1/", ],
  },
  "UserMetadata" : {},
}
"""


def configured(server: OrthancProcess) -> Path:
    """Server's configuration as a folder, with a file of every oddity that Orthanc takes."""
    folder = server.folder / "etc orthanc"
    folder.mkdir(parents=True)
    document = {key: value for key, value in server.configuration.items() if key not in {"Name", "DicomAet"}}
    (folder / "orthanc.json").write_text(json.dumps(document))
    (folder / "odd.JSON").write_text(ODD)
    server.configuration_path = folder
    return folder


def test_files_are_read_as_orthanc_reads_them(
    make_server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "dump.py"
    script.write_text(f"import orthanc\nopen({str(tmp_path / 'dump.json')!r}, 'w').write(orthanc.GetConfiguration())\n")
    server = make_server({"PythonScript": str(script)})
    monkeypatch.setenv("INGEST_NAME", "an archive")
    folder = configured(server)
    with server:
        seen: dict[str, Any] = json.loads((tmp_path / "dump.json").read_text())
    files = read(folder, os.environ)
    assert files.document == seen
    assert files.document["Name"] == "an archive"
    assert files.document["OrthancPeers"] == {"a": ["http://localhost:8043/"], "b": ["http://localhost:1/"]}


def test_a_key_in_two_files_is_refused_by_both(make_server: ServerFactory) -> None:
    server = make_server({"StageTiming": {}, "Name": "one"})
    folder = configured(server)
    (folder / "second.json").write_text('{"Name": "two"}')
    with pytest.raises(OrthancError, match='"Name" is defined in 2 different configuration files'):
        server.start()
    done = check(folder)
    assert done.returncode == 2
    assert done.stdout.startswith("refused: Name: in ")


def test_the_routes_that_are_announced_are_those_of_a_live_server(make_server: ServerFactory) -> None:
    server = make_server()
    with server:
        routes = server.json("GET", "/bundle/status")["Routes"]
        # Beside the running server, whose ledger it leaves alone.
        done = check(server.configuration_path)
        assert server.json("GET", "/deferred-delete/status")["running"] is True
    assert done.returncode == 0, done.stdout
    assert [line.strip() for line in done.stdout.splitlines() if line.startswith("  ")] == routes


def check(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BUNDLE / "bin" / "ingest-bundle"), "plugin", "check", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
