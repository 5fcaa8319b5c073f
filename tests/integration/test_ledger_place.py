"""Where a real Orthanc's ledger is: beside its index, or where an earlier version made it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deferred_delete import LEDGER_NAME
from harness.orthanc_process import OrthancError, OrthancProcess
from harness.senders import http_upload
from tests.conftest import ServerFactory
from tests.integration.test_deletion import pending, study_of, wait_until_drained

pytestmark = pytest.mark.orthanc


def deleted_ones(server: OrthancProcess, files: list[Path]) -> None:
    uploaded = http_upload(server, files)
    server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")


def test_a_new_ledger_is_beside_the_index_in_a_folder_that_orthanc_has_not_made_yet(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    index = tmp_path / "not there yet" / "index folder"
    with make_server({"DeferredDelete": {"GracePeriod": 3600}, "IndexDirectory": str(index)}) as server:
        deleted_ones(server, small_study[:5])
        assert pending(server) == 10
        assert sorted(path.name for path in index.iterdir() if path.name in ("index", LEDGER_NAME)) == [
            LEDGER_NAME,
            "index",
        ]
        assert not (server.storage / LEDGER_NAME).exists()
        assert "was found there" not in server.log_text()


def test_of_several_configuration_folders_the_first_is_what_paths_are_relative_to(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    with make_server(bundle=False) as native:
        if native.version < (1, 13):
            pytest.skip("before 1.13 Orthanc takes one file or folder")
    first, second = tmp_path / "first", tmp_path / "second"
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}}, arguments=(str(first),))
    server.configuration["StorageDirectory"] = "storage"
    server.configuration_path = second
    for folder, content in ((first, server.configuration), (second, {"StableAge": 60})):
        folder.mkdir()
        (folder / "some.json").write_text(json.dumps(content))
    with server:
        deleted_ones(server, small_study[:5])
        assert pending(server) == 10
    assert {LEDGER_NAME, "index"} <= {path.name for path in (first / "storage").iterdir()}
    assert not (second / "storage").exists()


def test_a_ledger_in_the_storage_folder_is_found_and_kept_and_two_are_refused(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    """An index moves to a disk of its own; and then somebody copies the ledger after it."""
    index = tmp_path / "index folder"
    index.mkdir()
    server = make_server({"DeferredDelete": {"GracePeriod": 3600}})
    with server:
        deleted_ones(server, small_study[:5])
        server.stop()
    kept = server.storage / LEDGER_NAME
    for name in ("index", "index-wal", "index-shm"):
        if (server.storage / name).exists():
            (server.storage / name).rename(index / name)
    server.configuration |= {"IndexDirectory": str(index)}
    with server:
        assert pending(server) == 10
        assert server.log_text().count(f"the ledger {kept} was found there and is used") == 1
        assert not (index / LEDGER_NAME).exists()
        server.stop()
    (index / LEDGER_NAME).write_bytes(kept.read_bytes())
    with pytest.raises(OrthancError, match=r"refuses to start: two ledgers"):
        server.start()
    kept.unlink()
    with server:
        assert pending(server) == 10
        server.json("POST", "/deferred-delete/drain")
        wait_until_drained(server)
