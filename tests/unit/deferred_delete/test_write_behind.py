"""Files held in memory for a moment: callers see no difference, and only the end of the process loses any."""

import contextlib
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deferred_delete import DeferredDelete, FileStorage, Settings
from deferred_delete import __main__ as command_line
from deferred_delete.errors import StorageError
from deferred_delete.ledger.power_loss import PowerLoss
from deferred_delete.storage.header_copies import HEADER_TYPE, HeaderCopy
from deferred_delete.storage.write_behind import WriteBehindStorage

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
def held(tmp_path: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> Iterator[WriteBehindStorage]:
    # On a slow machine, five seconds pass.
    monkeypatch.setattr("deferred_delete.storage.background_writer._MAX_HOLD_S", float("inf"))
    storage = WriteBehindStorage(FileStorage(tmp_path / "storage", sync=True), busy=ingest)
    storage.start()
    yield storage
    storage.stop(60.0)


class Disk:
    """Takes no new file while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        really_open = FileStorage._open_new

        def open_new(storage: FileStorage, attachment_uuid: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return really_open(storage, attachment_uuid)

        monkeypatch.setattr(FileStorage, "_open_new", open_new)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
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
    monkeypatch.setattr("deferred_delete.storage.background_writer._MAX_HOLD_S", 0.3)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    wait_for(lambda: held.unwritten == 0)
    assert held.path_of(name).read_bytes() == HEADER


def test_beyond_the_bound_they_are_written_at_once(
    held: WriteBehindStorage, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.storage.held_files._MAX_FILES", 3)
    names = uuids(5)
    for name in names:
        held.create_later(name, HEADER)
    assert [held.path_of(name).exists() for name in names] == [False, False, False, True, True]
    monkeypatch.setattr("deferred_delete.storage.held_files._MAX_FILES", 100)
    monkeypatch.setattr("deferred_delete.storage.held_files._MAX_BYTES", 4 * len(HEADER))
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
        assert go_on.wait(60)
        return really_open(self, attachment_uuid)

    monkeypatch.setattr(FileStorage, "_open_new", slow_open)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    ingest.busy = False
    assert writing.wait(60)
    deletion = threading.Thread(target=held.delete, args=(name,))
    deletion.start()
    assert held.read(name) == HEADER
    go_on.set()
    deletion.join(60)
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
    monkeypatch.setattr("deferred_delete.storage.background_writer._RETRY_S", 0.05)
    disk = Disk(monkeypatch)
    first, second, refused = uuids(3)
    held.create_later(first, HEADER)
    held.create_later(second, HEADER)
    ingest.busy = False
    wait_for(lambda: held._writer._failures_in_a_row >= 1)  # not for the log: that line is written a moment earlier
    assert "kept in memory" in caplog.text
    with pytest.raises(StorageError, match="No space left"):
        held.create_later(refused, HEADER)
    assert held.read(first) == held.read(second) == HEADER
    disk.full = False
    wait_for(lambda: held.unwritten == 0)
    assert held.path_of(first).exists()
    assert held.path_of(second).exists()
    assert not held.path_of(refused).exists()


class Watched(OrderedDict[str, Any]):
    """Lets somebody look at each moment at which a name is not in it."""

    def __init__(self, look: Callable[[str], None]) -> None:
        super().__init__()
        self.look = look

    def pop(self, key: str, default: Any = None) -> Any:
        value = super().pop(key, default)
        self.look(key)
        return value

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self.look(key)


def test_a_copy_that_the_disk_refused_can_be_read_at_every_moment(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.storage.background_writer._RETRY_S", 0.05)
    seen: list[object] = []

    def look(attachment_uuid: str) -> None:
        try:
            seen.append(held.read(attachment_uuid))
        except StorageError as error:
            seen.append(error)

    held._held._by_uuid = Watched(look)
    disk = Disk(monkeypatch)
    for name in uuids(2):
        held.create_later(name, HEADER)
    ingest.busy = False
    wait_for(lambda: held._writer._failures_in_a_row >= 3)
    disk.full = False
    wait_for(lambda: held.unwritten == 0)
    assert seen == [HEADER] * len(seen)


def test_a_deletion_does_not_wait_for_ever_for_a_write_that_hangs(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker tries it again; Orthanc's own thread would wait while it holds the index."""
    monkeypatch.setattr("deferred_delete.storage.background_writer._MAX_DELETION_WAIT_S", 0.05)
    writing, go_on = threading.Event(), threading.Event()
    really_open = FileStorage._open_new

    def hung_open(self: FileStorage, attachment_uuid: str) -> int:
        writing.set()
        assert go_on.wait(30)
        return really_open(self, attachment_uuid)

    monkeypatch.setattr(FileStorage, "_open_new", hung_open)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    ingest.busy = False
    assert writing.wait(10)
    refusals: list[str] = []

    def delete() -> None:
        try:
            held.delete(name)
        except StorageError as error:
            refusals.append(str(error))

    deletion = threading.Thread(target=delete, daemon=True)
    deletion.start()
    deletion.join(10)
    refused_in_time = list(refusals)
    assert held.read(name) == HEADER
    go_on.set()
    wait_for(lambda: held.unwritten == 0)
    assert len(refused_in_time) == 1
    assert "is still being written" in refused_in_time[0]
    assert held.delete(name).existed
    assert not held.path_of(name).exists()


def test_once_what_the_disk_refused_is_deleted_copies_are_held_again(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []
    held._writer._refused = told.append
    disk = Disk(monkeypatch)
    refused, later = uuids(2)
    held.create_later(refused, HEADER)
    ingest.busy = False
    wait_for(lambda: told == [True])
    held.delete(refused)
    disk.full, ingest.busy = False, True
    held.create_later(later, HEADER)
    assert held.unwritten == 1
    ingest.busy = False
    wait_for(lambda: told == [True, False])


def test_a_write_that_fails_half_way_leaves_nothing_and_does_not_wait_for_itself(
    held: WriteBehindStorage, ingest: Ingest, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.storage.background_writer._RETRY_S", 0.05)
    failures = iter([OSError(5, "Input/output error"), MemoryError()])

    def write_all(descriptor: int, content: bytes) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        really_write_all(descriptor, content)

    from deferred_delete.storage.layout import write_all as really_write_all

    monkeypatch.setattr("deferred_delete.storage.file_storage.write_all", write_all)
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
    assert held.stop(60.0)
    assert held.path_of(first).exists()
    held.create_later(second, HEADER)
    assert held.path_of(second).exists()


def test_before_the_start_everything_is_written_at_once(tmp_path: Path, uuids: Uuids) -> None:
    (name,) = uuids(1)
    storage = WriteBehindStorage(FileStorage(tmp_path / "storage", sync=True))
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
    monkeypatch.setattr("deferred_delete.ledger.power_loss.boot_id", lambda: "another boot")
    service = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    losses: PowerLoss = service.ledger.power_loss
    assert losses.unclean
    assert not losses.suspected
    service.close()


def test_a_stop_that_fails_leaves_nobody_waiting(
    held: WriteBehindStorage, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be Orthanc's own thread that deletes, holding its index."""
    writing, go_on = threading.Event(), threading.Event()

    def full(_self: FileStorage, _uuid: str) -> int:
        writing.set()
        assert go_on.wait(60)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileStorage, "_open_new", full)
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    stop = threading.Thread(target=held.stop, args=(60.0,))
    stop.start()
    assert writing.wait(60)
    deletion = threading.Thread(target=held.delete, args=(name,), daemon=True)
    deletion.start()
    go_on.set()
    stop.join(60)
    deletion.join(60)
    assert not deletion.is_alive()


def test_one_file_that_cannot_be_written_does_not_keep_a_stop_from_writing_the_others(
    held: WriteBehindStorage, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = uuids(5)
    really_open = FileStorage._open_new

    def open_new(self: FileStorage, attachment_uuid: str) -> int:
        if attachment_uuid == names[0]:
            raise OSError(13, "Permission denied")
        return really_open(self, attachment_uuid)

    monkeypatch.setattr(FileStorage, "_open_new", open_new)
    for name in names:
        held.create_later(name, HEADER)
    assert not held.stop(60.0)
    assert [held.path_of(name).exists() for name in names] == [False, True, True, True, True]


def test_what_an_attempt_left_in_its_place_is_replaced(held: WriteBehindStorage, ingest: Ingest, uuids: Uuids) -> None:
    (name,) = uuids(1)
    held.create_later(name, HEADER)
    held.path_of(name).parent.mkdir(parents=True)
    held.path_of(name).write_bytes(b"torn")
    ingest.busy = False
    wait_for(lambda: held.unwritten == 0)
    assert held.path_of(name).read_bytes() == HEADER


class Archive:
    """Images and their header copies, some missing, as Orthanc's index knows them; and a service to kill."""

    def __init__(self, folder: Path, names: Iterator[str]) -> None:
        self.folder = folder
        self.names = names
        self.copies: list[HeaderCopy] = []  # newest first
        self.service = self.opened()

    def opened(self) -> DeferredDelete:
        return DeferredDelete(self.folder, Settings(), sync=False, header_copies=lambda: iter(self.copies))

    def store(self, *, with_header: bool = True, age_s: float = 0.0) -> str:
        image, header = next(self.names), next(self.names)
        self.service.storage.create(image, HEADER + b"pixels")
        if with_header:
            self.service.storage.create(header, HEADER)
        if age_s:
            written_s = time.time() - age_s
            os.utime(self.service.storage.path_of(image), (written_s, written_s))
        self.copies.insert(0, HeaderCopy(header, image, len(HEADER)))
        return header

    def kill(self) -> None:
        """As SIGKILL: nothing is written any more, and the ledger is not closed."""
        self.service.storage._held._by_uuid.clear()
        database = self.service.ledger._database
        database._owner.release()
        database._reader.close()
        database._writer.close()

    def restart(self) -> None:
        self.service = self.opened()


@pytest.fixture
def archive(tmp_path: Path, uuids: Uuids) -> Iterator[Archive]:
    made = Archive(tmp_path / "storage", iter(uuids(4000)))
    yield made
    made.service.close()


def test_the_command_line_between_a_crash_and_the_next_start_hides_nothing(archive: Archive) -> None:
    missing = archive.store(with_header=False)
    archive.kill()
    with contextlib.suppress(SystemExit):
        command_line.main(["drain", "--storage", str(archive.folder), str(archive.folder / "deferred-deletions.db")])
    archive.restart()
    assert archive.service.storage.path_of(missing).read_bytes() == HEADER


def test_a_start_that_fails_after_a_crash_hides_nothing(archive: Archive) -> None:
    missing = archive.store(with_header=False)
    archive.kill()
    known, archive.copies = archive.copies, None  # type: ignore[assignment]
    with pytest.raises(TypeError):  # the index cannot be read
        archive.restart()
    archive.copies = known
    archive.restart()
    assert archive.service.storage.path_of(missing).read_bytes() == HEADER


def test_what_a_start_could_not_write_is_served_and_written_when_there_is_room(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.storage.background_writer._RETRY_S", 0.05)
    missing = archive.store(with_header=False)
    archive.kill()
    really_open = FileStorage._open_new

    def full(_self: FileStorage, _uuid: str) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FileStorage, "_open_new", full)
    archive.restart()
    assert archive.service.area.read(missing, HEADER_TYPE) == HEADER
    assert archive.service.ledger.power_loss.headers_missing
    monkeypatch.setattr(FileStorage, "_open_new", really_open)
    archive.service.storage.start()
    wait_for(lambda: not archive.service.ledger.power_loss.headers_missing)
    assert archive.service.storage.path_of(missing).read_bytes() == HEADER


def test_copies_that_a_disk_refused_long_ago_are_found_however_many_came_later(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond what a crash alone may have torn, the ledger remembers that there is something to look for."""
    really_open = FileStorage._open_new

    def full(_self: FileStorage, _uuid: str) -> int:
        raise OSError(28, "No space left on device")

    missing = archive.store(with_header=False, age_s=7200)
    archive.kill()
    monkeypatch.setattr(FileStorage, "_open_new", full)
    archive.restart()
    monkeypatch.setattr(FileStorage, "_open_new", really_open)
    for number in range(600):
        archive.store(age_s=3600 if number < 300 else 0)
    archive.kill()
    archive.restart()
    assert archive.service.storage.path_of(missing).read_bytes() == HEADER
    assert not archive.service.ledger.power_loss.headers_missing


def test_a_disk_that_refuses_copies_is_remembered_until_all_are_written(
    archive: Archive, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.storage.background_writer._RETRY_S", 0.05)
    disk = Disk(monkeypatch)
    archive.service.rely_on_rebuilding()
    archive.service.storage.create_later(next(archive.names), HEADER)
    wait_for(lambda: archive.service.ledger.power_loss.headers_missing)
    disk.full = False
    wait_for(lambda: not archive.service.ledger.power_loss.headers_missing)
    assert archive.service.storage.unwritten == 0


def test_copies_beyond_what_memory_takes_are_remembered_though_the_others_are_written(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.storage.background_writer._RETRY_S", 0.05)
    monkeypatch.setattr("deferred_delete.storage.held_files._MAX_FILES", 1)
    left_out = archive.store(with_header=False, age_s=7200)
    held = archive.store(with_header=False, age_s=7200)
    archive.kill()
    disk = Disk(monkeypatch)
    archive.restart()
    assert archive.service.headers_left_out
    disk.full = False
    archive.service.storage.start()
    wait_for(lambda: archive.service.storage.path_of(held).exists())
    for number in range(600):
        archive.store(age_s=3600 if number < 300 else 0)
    archive.service.close()
    assert not archive.service.storage.path_of(left_out).exists()
    archive.restart()
    assert archive.service.storage.path_of(left_out).read_bytes() == HEADER
    assert not archive.service.headers_left_out
    assert not archive.service.ledger.power_loss.headers_missing
