"""A configuration with an error stops a real Orthanc with one line; one with everything off changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from harness.orthanc_process import BUNDLE, OrthancError, executable
from harness.senders import http_upload
from plugin.config import CoreSettings
from plugin.validation import known_keys
from tests.conftest import ServerFactory
from tests.unit.test_docs import OF_ORTHANC

pytestmark = pytest.mark.orthanc

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    # An unknown key, with the nearest known one.
    (
        "unknown key",
        {"DeferredDelete": {"GracePeriode": 5}},
        "DeferredDelete.GracePeriode: unknown key: did you mean 'GracePeriod'?",
    ),
    # A wrong type.
    (
        "wrong type",
        {"DeferredDelete": {"GracePeriod": "soon"}},
        'DeferredDelete.GracePeriod: "soon": expected float, got str',
    ),
    # A value out of range.
    ("bad value", {"DeferredDelete": {"GracePeriod": -1}}, "DeferredDelete.GracePeriod: -1: expected float >= 0"),
    # A section that is not an object.
    ("section", {"StageTiming": True}, "StageTiming: true: expected object, got bool"),
    # A misspelt section would be silently off.
    ("misspelt", {"DeferedDelete": {}}, "DeferedDelete: unknown section: did you mean 'DeferredDelete'?"),
    # Even a section that is switched off is checked: the error would else appear on the night somebody switches it on.
    ("off", {"StageTiming": {"Enable": False, "Nonsense": 1}}, "StageTiming.Nonsense: unknown key"),
    # Orthanc's own transcoding and ours would undo one another.
    (
        "both transcoders",
        {"IngestTranscoder": {"Default": "JPEGLSLossless"}, "IngestTranscoding": "1.2.840.10008.1.2.4.70"},
        "Orthanc's own ingest transcoding and IngestTranscoder are both on",
    ),
    # A target that is lossy or unknown.
    ("target", {"IngestTranscoder": {"Default": "JPEGBaseline8Bit"}}, "IngestTranscoder.Default: 'JPEGBaseline8Bit'"),
    # A rule inside the list.
    (
        "rule",
        {"IngestTranscoder": {"Rules": [{"Modalty": "CT", "Action": "Keep"}]}},
        "IngestTranscoder.Rules[0].Modalty: unknown key",
    ),
]


@pytest.mark.parametrize(("sections", "line"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_configuration_that_is_not_understood_stops_orthanc(
    make_server: ServerFactory, sections: dict[str, Any], line: str
) -> None:
    server = make_server(sections)
    with pytest.raises(OrthancError, match="ended at start"):
        server.start()
    refusals = [text for text in server.log_text().splitlines() if "refuses to start" in text]
    assert len(refusals) == 1
    assert line in refusals[0]
    assert server.first_error() in refusals[0], "another error line comes before ours"


def test_with_every_section_off_nothing_is_registered(make_server: ServerFactory, small_study: list[Path]) -> None:
    sections = ("DeferredDelete", "IngestTranscoder", "IngestGuard", "StageTiming", "DicomAssociations")
    with make_server({name: {"Enable": False} for name in sections}, arguments=("--verbose",)) as server:
        http_upload(server, small_study[:1])
        assert server.request("GET", "/bundle/status").status == 404
        # The plugin announces each registration of a custom storage area or callback in its log.
        assert "Registering a" not in server.log_text().replace("Registering a new", "")
        assert "Creating attachment" in server.log_text(), "Orthanc's own storage area is at work"


def test_the_repository_s_own_configuration_starts_as_it_is(make_server: ServerFactory) -> None:
    example = json.loads((BUNDLE / "orthanc.json").read_text())
    server = make_server({})
    server.configuration = example | {
        key: server.configuration[key] for key in ("HttpPort", "DicomPort", "StorageDirectory")
    }
    with server:
        status = server.json("GET", "/bundle/status")
        assert status["Sections"] == [
            "DeferredDelete",
            "IngestTranscoder",
            "IngestGuard",
            "StageTiming",
            "DicomAssociations",
        ]


def test_paths_are_relative_to_the_configuration_file(make_server: ServerFactory, small_study: list[Path]) -> None:
    server = make_server()
    server.configuration |= {"StorageDirectory": "rela tive"}
    server.configuration["DeferredDelete"] = {"GracePeriod": 3600, "Path": "ledgers/pending.db"}
    (server.folder / "ledgers").mkdir(parents=True)
    with server:
        (orthanc_id,) = http_upload(server, small_study[:1])
        assert len(list((server.folder / "rela tive").glob("??/??/*"))) >= 1
        server.json("DELETE", f"/instances/{orthanc_id}")
        assert (server.folder / "ledgers" / "pending.db").exists()


def test_a_configuration_folder_is_understood_as_debian_starts_orthanc(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = make_server()
    folder = server.folder / "etc orthanc"
    folder.mkdir(parents=True)
    configuration = server.configuration | {"StorageDirectory": "here"}
    (folder / "orthanc.json").write_text(
        json.dumps({key: value for key, value in configuration.items() if key != "DeferredDelete"})
    )
    (folder / "deletion.json").write_text(json.dumps({"DeferredDelete": {"GracePeriod": 3600}}))
    server.configuration_path = folder
    with server:
        http_upload(server, small_study[:1])
        assert list((folder / "here").glob("??/??/*"))
        assert (folder / "here" / "deferred-deletions.db").exists()


def test_a_section_needs_what_this_sdk_has(make_server: ServerFactory, tmp_path: Path) -> None:
    """An older plugin, imitated by taking a function away from the live module."""
    script = tmp_path / "older.py"
    main = str(BUNDLE / "plugin" / "main.py")
    script.write_text(
        f"import sys, orthanc\ndel orthanc.RegisterStorageArea\nsys.path.insert(0, {str(BUNDLE)!r})\n"
        f"exec(open({main!r}).read(), {{'__file__': {main!r}, '__name__': 'main'}})\n"
    )
    server = make_server({"DeferredDelete": {}, "PythonScript": str(script)})
    with pytest.raises(OrthancError, match="DeferredDelete: this Orthanc's Python plugin has no RegisterStorageArea"):
        server.start()


def test_what_the_bundle_reads_and_its_page_names_as_orthanc_s_options_are_orthanc_s(tmp_path: Path) -> None:
    usage = subprocess.run([executable(), "--help"], check=True, capture_output=True, text=True).stdout
    options = set()
    for option in ("--config", "--advanced-config"):  # from 1.13 half of them are in the latter
        if option in usage:
            defaults = tmp_path / f"{option}.json"
            subprocess.run([executable(), f"{option}={defaults}"], check=True, capture_output=True)
            options |= set(re.findall(r'^ *(?:// *)?"(\w+)" *:', defaults.read_text(), re.MULTILINE))
    assert (OF_ORTHANC | known_keys(CoreSettings)) - options == set()
