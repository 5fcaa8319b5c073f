"""DeferredStorageArea: what Orthanc's callbacks rely on. Above all: remove never raises and never forgets."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferred_delete import DeferredStorageArea, FileStorage, Intake, JournalError, Ledger, StorageError

Uuids = Callable[[int], list[str]]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db", busy_timeout_ms=0) as opened:
        yield opened


@pytest.fixture
def intake(ledger: Ledger) -> Intake:
    return Intake(ledger)


@pytest.fixture
def area(intake: Intake, storage: FileStorage) -> DeferredStorageArea:
    return DeferredStorageArea(intake, storage)


def test_stores_and_reads_at_once_and_removes_later(
    area: DeferredStorageArea, intake: Intake, storage: FileStorage, uuids: Uuids
) -> None:
    (attachment,) = uuids(1)
    area.create(attachment, 1, b"content")
    assert area.read(attachment, 1) == b"content"
    area.remove(attachment, 1)
    assert intake.counts() == (1, 0, 0)
    assert storage.read(attachment) == b"content", "only the worker deletes"


def test_create_and_read_raise_one_line(area: DeferredStorageArea, uuids: Uuids) -> None:
    (attachment,) = uuids(1)
    with pytest.raises(StorageError):
        area.read(attachment, 1)
    area.create(attachment, 1, b"")
    with pytest.raises(StorageError, match="File exists"):
        area.create(attachment, 1, b"")


def test_tells_of_each_removal(intake: Intake, storage: FileStorage, uuids: Uuids) -> None:
    told: list[int] = []
    area = DeferredStorageArea(intake, storage, notify=lambda: told.append(intake.waiting))
    for attachment in uuids(2):
        area.remove(attachment, 1)
    assert told == [1, 2], "the worker is woken when the record is there"


def test_a_locked_ledger_is_not_even_noticed(
    area: DeferredStorageArea, intake: Intake, ledger: Ledger, uuids: Uuids
) -> None:
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for attachment in uuids(1000):
        area.remove(attachment, 1)
    assert intake.counts() == (1000, 0, 0)
    holder.execute("COMMIT")
    holder.close()
    intake.move_all()
    assert ledger.counts() == (1000, 0, 0)


def test_a_closed_ledger_is_not_even_noticed(tmp_path: Path, storage: FileStorage, uuids: Uuids) -> None:
    attachments = uuids(3)
    with Ledger(tmp_path / "l.db") as ledger:
        area = DeferredStorageArea(Intake(ledger), storage)
    for attachment in attachments:
        area.remove(attachment, 1)
    with Ledger(tmp_path / "l.db") as ledger:
        assert {each.attachment_uuid for each in ledger.claim(9, ledger.clock.now_ms())} == set(attachments)


@pytest.mark.parametrize("nonsense", ["", "../../etc/passwd", None, 5, b"x", "\ud800" * 36])
def test_remove_never_raises_on_nonsense(area: DeferredStorageArea, intake: Intake, nonsense, caplog) -> None:
    area.remove(nonsense, 1)
    assert intake.counts().total == 0
    assert "not an attachment UUID" in caplog.text
    area.remove("0a1b2c3d-4e5f-6789-abcd-ef0123456789", 2**80)  # no such content type
    assert intake.lost == 2


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("?"), JournalError("no"), KeyError("x")])
def test_remove_never_raises_whatever_happens_inside(
    area: DeferredStorageArea, intake: Intake, uuids: Uuids, *, monkeypatch, caplog, error: Exception
) -> None:
    def raises(*_: object) -> None:
        raise error

    monkeypatch.setattr(intake, "add", raises)
    (attachment,) = uuids(1)
    area.remove(attachment, 1)
    assert intake.lost == 1
    assert f"deletion of {attachment} is lost" in caplog.text


def test_a_record_that_cannot_be_synced_is_not_lost(
    ledger: Ledger, storage: FileStorage, uuids: Uuids, *, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    intake = Intake(ledger, durability="power")

    class Memory(bytearray):
        def flush(self, *_: int) -> None:
            raise OSError(5, "Input/output error")

    (segment,) = intake._journal.segments
    monkeypatch.setattr(segment, "memory", Memory(segment.memory[:]))
    DeferredStorageArea(intake, storage).remove(uuids(1)[0], 1)
    assert (intake.counts().pending, intake.lost) == (1, 0)
    assert "survives a kill, but no power cut: [Errno 5] Input/output error" in caplog.text


def test_a_thousand_failures_are_a_few_lines(
    area: DeferredStorageArea, intake: Intake, uuids: Uuids, *, monkeypatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise JournalError("no room")

    monkeypatch.setattr(intake, "add", full)
    with caplog.at_level(logging.DEBUG):
        for attachment in uuids(1000):
            area.remove(attachment, 1)
    assert len(caplog.records) <= 20
    assert intake.lost == 1000
