"""Files that are held in memory for a moment: nobody can tell, and nothing is lost by anything but the end of the process."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferred_delete import DeferredDelete, FileStorage, Settings
from deferred_delete.errors import StorageError
from deferred_delete.headers import HEADER_TYPE
from deferred_delete.power_loss import PowerLoss
from deferred_delete.write_behind import WriteBehindStorage

Uuids = Callable[[int], list[str]]
HEADER = bytes(128) + b"DICM" + b"tags" * 50


class Ingest:
    """Whether instances are being stored, as the test says."""

    def __init__(self) -> None:
        self.busy = True

    def __call__(self) -> bool:
        return self.busy


@pytest.fixture
def ingest() -> Ingest:
    return Ingest()


@pytest.fixture
def held(tmp_path: Path, ingest: Ingest) -> Iterator[WriteBehindStorage]:
    storage = WriteBehindStorage(tmp_path / "storage", sync=True, busy=ingest)
    storage.start()
    yield storage
    storage.stop(5.0)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_while_instances_are_stored_files_are_held_and_everybody_sees_them(
    held: WriteBehindStorage, uuids: Uuids
) -> None:
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    assert held.unwritten == 1
    assert not held.path_of(name).exists()
    assert held.read(name) == HEADER
    assert held.size(name) == len(HEADER)
    content, written_s = held.head(name, 10)
    assert content == HEADER[:10]
    assert abs(written_s - time.time()) < 60


def test_they_are_written_when_ingest_pauses(held: WriteBehindStorage, ingest: Ingest, uuids: Uuids) -> None:
    names = uuids(20)
    for name in names:
        held.create_later(name, HEADER + name.encode())
    ingest.busy = False
    wait_for(lambda: held.unwritten == 0)
    assert all(held.path_of(name).read_bytes() == HEADER + name.encode() for name in names)
    assert held.read(names[0]) == HEADER + names[0].encode()


def test_they_are_written_after_a_while_also_when_ingest_never_pauses(
    held: WriteBehindStorage, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.write_behind._LONGEST_S", 0.3)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    wait_for(lambda: held.unwritten == 0)
    assert held.path_of(name).read_bytes() == HEADER


def test_beyond_the_bound_they_are_written_at_once(
    held: WriteBehindStorage, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.write_behind._MOST_FILES", 3)
    names = uuids(5)
    for name in names:
        held.create_later(name, HEADER)
    assert [held.path_of(name).exists() for name in names] == [False, False, False, True, True]
    monkeypatch.setattr("deferred_delete.write_behind._MOST_FILES", 100)
    monkeypatch.setattr("deferred_delete.write_behind._MOST_BYTES", 4 * len(HEADER))
    fourth, fifth = uuids(7)[5:]
    held.create_later(fourth, HEADER)
    held.create_later(fifth, HEADER)
    assert held.path_of(fifth).exists()


def test_a_file_that_is_held_can_be_deleted_and_is_never_written(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids
) -> None:
    gone, stays = uuids(2)
    held.create_later(gone, HEADER)
    held.create_later(stays, HEADER)
    assert held.delete(gone) == (True, len(HEADER))
    assert held.delete(gone) == (False, 0)
    with pytest.raises(StorageError):
        held.read(gone)
    ingest.busy = False
    wait_for(lambda: held.unwritten == 0)
    assert not held.path_of(gone).exists()
    assert held.path_of(stays).exists()


def test_a_file_that_is_just_being_written_is_deleted_after_that(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or it would appear after its deletion was completed, and be an orphan for ever."""
    writing, go_on = threading.Event(), threading.Event()
    really_open = FileStorage._open_new

    def slow_open(self: FileStorage, attachment_uuid: str) -> int:
        writing.set()
        assert go_on.wait(10)
        return really_open(self, attachment_uuid)

    monkeypatch.setattr(FileStorage, "_open_new", slow_open)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    ingest.busy = False
    assert writing.wait(10)
    deletion = threading.Thread(target=held.delete, args=(name,))
    deletion.start()
    assert held.read(name) == HEADER
    go_on.set()
    deletion.join(10)
    assert not deletion.is_alive()
    assert not held.path_of(name).exists()
    assert held.unwritten == 0


def test_a_disk_that_refuses_loses_nothing_and_stores_are_refused_meanwhile(
    held: WriteBehindStorage,
    ingest: Ingest,
    uuids: Uuids,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("deferred_delete.write_behind._RETRY_S", 0.05)
    full = True
    really_open = FileStorage._open_new

    def open_new(self: FileStorage, attachment_uuid: str) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return really_open(self, attachment_uuid)

    monkeypatch.setattr(FileStorage, "_open_new", open_new)
    first, second, refused = uuids(3)
    held.create_later(first, HEADER)
    held.create_later(second, HEADER)
    ingest.busy = False
    wait_for(lambda: "kept in memory" in caplog.text)
    with pytest.raises(StorageError, match="No space left"):
        held.create_later(refused, HEADER)
    assert held.read(first) == held.read(second) == HEADER
    full = False
    wait_for(lambda: held.unwritten == 0)
    assert held.path_of(first).exists()
    assert held.path_of(second).exists()
    assert not held.path_of(refused).exists()


def test_a_write_that_fails_half_way_leaves_nothing_and_does_not_wait_for_itself(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.write_behind._RETRY_S", 0.05)
    failures = iter([OSError(5, "Input/output error"), MemoryError()])

    def write_all(descriptor: int, content: bytes) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        really_write_all(descriptor, content)

    from deferred_delete.layout import write_all as really_write_all

    monkeypatch.setattr("deferred_delete.storage.write_all", write_all)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    ingest.busy = False
    wait_for(lambda: held.unwritten == 0)
    assert held.path_of(name).read_bytes() == HEADER


def test_stopping_writes_what_is_held_and_from_then_on_everything_at_once(
    held: WriteBehindStorage, uuids: Uuids
) -> None:
    first, second = uuids(2)
    held.create_later(first, HEADER)
    assert held.stop(5.0)
    assert held.path_of(first).exists()
    held.create_later(second, HEADER)
    assert held.path_of(second).exists()


def test_before_the_start_everything_is_written_at_once(tmp_path: Path, uuids: Uuids) -> None:
    (name,) = uuids(1)
    storage = WriteBehindStorage(tmp_path / "storage", sync=True)
    storage.create_later(name, HEADER)
    assert storage.path_of(name).read_bytes() == HEADER


def test_a_name_that_is_no_uuid_is_refused(held: WriteBehindStorage) -> None:
    with pytest.raises(StorageError, match="not an attachment UUID"):
        held.create_later("../../etc/passwd", HEADER)


def test_a_stop_that_could_not_write_everything_is_followed_by_a_start_that_looks(
    tmp_path: Path, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    monkeypatch.setattr(service.worker.ingest, "_monotonic", lambda: 0.0)  # busy for ever
    service.rely_on_rebuilding()
    (name,) = uuids(1)
    service.area.create(name, HEADER_TYPE, HEADER)
    assert service.worker.status().unwritten_header_copies == 1

    def refuse(_self: FileStorage, _uuid: str) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(FileStorage, "_open_new", refuse)
    service.close()
    monkeypatch.undo()
    again = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    assert again.ledger.power_loss.unclean
    again.close()
    third = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    assert not third.ledger.power_loss.unclean
    third.close()


def test_a_machine_that_was_started_since_is_reason_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proper stop and then a power cut, before the copies reached the disk."""
    DeferredDelete(tmp_path / "storage", Settings(), sync=False).close()
    monkeypatch.setattr("deferred_delete.power_loss.boot_id", lambda: "another boot")
    service = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    losses: PowerLoss = service.ledger.power_loss
    assert losses.unclean
    assert not losses.suspected
    service.close()
