"""Reading orthanc.json: typed sections, or one line of refusal.

What a real Orthanc does with that line: tests/integration/test_configuration.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deferred_delete import LedgerRefusedError
from plugin.config import Configuration, configuration_folder, parse
from plugin.validation import ConfigurationError


def read(document: dict[str, Any]) -> Configuration:
    return parse(json.dumps(document), Path("/etc/orthanc"))


def test_absent_sections_are_off_and_present_ones_are_on() -> None:
    configuration = read({"StageTiming": {}, "DicomAssociations": {"Enable": False}, "Name": "archive"})
    assert configuration.enabled == ["StageTiming"]


def test_orthancs_own_options_are_read_with_orthancs_defaults() -> None:
    core = read({}).core
    assert (core.storage_directory, core.sync_storage_area, core.dicom_port) == ("OrthancStorage", True, 4242)
    core = read({"StorageDirectory": "/archive", "SyncStorageArea": False, "DicomPort": 104, "SomethingElse": [1]}).core
    assert (core.storage_directory, core.sync_storage_area, core.dicom_port) == ("/archive", False, 104)


def test_relative_paths_belong_to_the_configuration_s_folder() -> None:
    document = {"StorageDirectory": "db", "DeferredDelete": {"Path": "ledger.db"}}
    assert read(document).storage_root == Path("/etc/orthanc/db")
    assert read(document).ledger_path == Path("/etc/orthanc/ledger.db")
    assert read({"StorageDirectory": "/archive", "DeferredDelete": {}}).ledger_path == Path(
        "/archive/deferred-deletions.db"
    )


def test_the_ledger_is_beside_the_index_unless_one_is_found_where_earlier_versions_made_it(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "StorageDirectory": str(tmp_path / "storage"),
        "IndexDirectory": str(tmp_path / "index"),
        "DeferredDelete": {},
    }
    beside, kept = tmp_path / "index" / "deferred-deletions.db", tmp_path / "storage" / "deferred-deletions.db"
    assert read(document).ledger_path == beside
    assert not read(document).keeps_ledger_elsewhere
    kept.parent.mkdir()
    kept.touch()
    assert read(document).ledger_path == kept
    assert read(document).keeps_ledger_elsewhere
    beside.parent.mkdir()
    beside.touch()
    with pytest.raises(LedgerRefusedError, match="two ledgers"):
        assert read(document).ledger_path
    named = read(document | {"DeferredDelete": {"Path": str(kept)}})
    assert named.ledger_path == kept
    assert not named.keeps_ledger_elsewhere


def test_the_ledger_of_one_who_came_from_the_other_plugin_is_found_when_the_section_changes(tmp_path: Path) -> None:
    """With the C++ plugin's section alone, the ledger's path follows from its Path.

    With a section of ours too, that ledger still has deletions.
    """
    theirs = {"StorageDirectory": str(tmp_path), "DelayedDeletion": {"Enable": True, "Path": str(tmp_path / "cpp.db")}}
    before = read(theirs).ledger_path
    assert before == tmp_path / "cpp.db.deferred"
    ours = theirs | {"DeferredDelete": {}}
    assert read(ours).ledger_path == tmp_path / "deferred-deletions.db"
    before.touch()
    assert read(ours).ledger_path == before


def test_the_configuration_s_folder_is_the_one_that_the_core_uses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "etc" / "orthanc"
    folder.mkdir(parents=True)
    (folder / "orthanc.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    # A file: the SDK names it.
    assert configuration_folder(str(folder / "orthanc.json"), ["--verbose", "etc/orthanc/orthanc.json"]) == folder
    # A folder, as Debian's service gives it: the SDK names its parent, the core means the folder.
    assert configuration_folder(str(folder.parent), ["--logdir=/var/log/orthanc", str(folder)]) == folder
    # With a slash at its end the SDK names the folder itself.
    assert configuration_folder(str(folder), ["etc/orthanc/", "--verbose"]) == folder
    # Several, as from 1.13 on: the SDK names the first, which is the one that the core means.
    assert configuration_folder(str(folder.parent), [str(folder), str(tmp_path)]) == folder
    assert configuration_folder(str(folder), ["etc/orthanc/", "etc/"]) == folder
    # No configuration at all: the working directory.
    assert configuration_folder("", []) == tmp_path


def test_the_cpp_plugin_s_section_is_on_unless_it_says_otherwise_as_there() -> None:
    assert read({"DelayedDeletion": {}}).enabled == ["DeferredDelete"]


def test_the_cpp_plugin_s_section_is_understood() -> None:
    configuration = read({"DelayedDeletion": {"Enable": True, "ThrottleDelayMs": 20, "Path": "/var/lib/pending.db"}})
    settings = configuration.deferred_delete
    assert settings is not None
    assert (settings.grace_period, settings.throttle_delay_ms) == (0, 20)


@pytest.mark.parametrize(
    "document",
    [
        {"DelayedDeletion": {"Enable": False}},
        # Ours has the last word where both are there.
        {"DelayedDeletion": {"Enable": True}, "DeferredDelete": {"Enable": False}},
    ],
)
def test_the_cpp_plugin_s_section_turns_nothing_on_by_itself(document: dict[str, Any]) -> None:
    assert read(document).deferred_delete is None


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (
            {"DeferredDelete": {"graceperiod": 1}},
            "DeferredDelete.graceperiod: unknown key: did you mean 'GracePeriod'?",
        ),
        ({"StageTiming": {"Xyzzy": 1}}, "StageTiming.Xyzzy: unknown key: expected one of"),
        ({"DeferredDelete": []}, "DeferredDelete: []: expected object, got array"),
        ({"DeferredDelete": {"Enable": "yes"}}, 'DeferredDelete.Enable: "yes": expected bool, got str'),
        ({"DicomPort": "104"}, 'DicomPort: "104": expected int, got str'),
        (
            {"DelayedDeletion": {"Enable": True, "Throttle": 1}},
            "DelayedDeletion.Throttle: unknown key: did you mean 'ThrottleDelayMs'?",
        ),
        ({"IngestTranscoders": {}}, "IngestTranscoders: unknown section: did you mean 'IngestTranscoder'?"),
        (
            {"IngestTranscoder": {"Rules": [{"Action": "Keep"}, {"Action": 5}]}},
            "IngestTranscoder.Rules[1].Action: 5: expected str, got int",
        ),
    ],
)
def test_what_is_not_understood_is_refused_with_key_value_and_expectation(document: dict[str, Any], line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(document)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


def test_orthancs_own_keys_are_no_misspelling_of_ours() -> None:
    assert read({"IngestTranscoding": "1.2.840.10008.1.2.4.70", "IngestTranscodingOfCompressed": True}).enabled == []


def test_a_long_value_does_not_flood_the_log() -> None:
    with pytest.raises(ConfigurationError) as caught:
        read({"DeferredDelete": {"Enable": "x" * 100_000}})
    assert len(str(caught.value)) < 300


def test_the_ports_of_modalities_are_found_in_both_notations() -> None:
    modalities = {
        "list": ["STORESCP", "127.0.0.1", 2000],
        "list with manufacturer": ["STORESCP", "127.0.0.1", "2001", "Generic"],
        "object": {"AET": "ORTHANC", "Host": "127.0.0.1", "Port": 104},
        "short": ["STORESCP"],
        "nonsense": 5,
    }
    assert read({"DicomModalities": modalities}).modality_ports == {2000, 2001, 104}
    assert read({}).modality_ports == set()
