"""DeferredStorageArea: what Orthanc's callbacks rely on. Above all: remove never raises and never forgets."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from deferred_delete.circuit_breaker import CircuitBreaker

from deferred_delete import DeferredStorageArea, FileStorage, Ledger, LedgerError, StorageError

Uuids = Callable[[int], list[str]]


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(capacity=3)


@pytest.fixture
def area(ledger: Ledger, storage: FileStorage, backlog: Backlog) -> DeferredStorageArea:
    return DeferredStorageArea(ledger, storage, backlog, grace_ms=60_000)


def test_stores_and_reads_at_once_and_removes_later(
    area: DeferredStorageArea, ledger: Ledger, storage: FileStorage, uuids: Uuids
) -> None:
    (attachment,) = uuids(1)
    area.create(attachment, 1, b"content")
    assert area.read(attachment, 1) == b"content"
    area.remove(attachment, 1)
    assert ledger.counts() == (1, 0, 0)
    assert storage.read(attachment) == b"content", "the grace period is not over"


def test_create_and_read_raise_one_line(area: DeferredStorageArea, uuids: Uuids) -> None:
    (attachment,) = uuids(1)
    with pytest.raises(StorageError):
        area.read(attachment, 1)
    area.create(attachment, 1, b"")
    with pytest.raises(StorageError, match="File exists"):
        area.create(attachment, 1, b"")


def test_tells_when_the_deletion_is_due(ledger: Ledger, storage: FileStorage, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    told: list[int] = []
    area = DeferredStorageArea(ledger, storage, grace_ms=1500, notify=told.append)
    area.remove(uuids(1)[0], 1)
    assert told == [clock.time_ms + 1500]


def test_a_closed_ledger_means_unlinking_at_once(
    area: DeferredStorageArea, ledger: Ledger, storage: FileStorage, uuids: Uuids, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = uuids(2)
    area.create(first, 1, b"x")
    area.create(second, 1, b"x")
    ledger.close()
    area.remove(first, 1)
    area.remove(second, 1)
    assert storage.size(first) is storage.size(second) is None
    assert f"unlinking {first} at once instead of later" in caplog.text


def test_a_full_disk_under_the_ledger_means_unlinking_at_once(tmpfs, storage: FileStorage, uuids: Uuids) -> None:
    disk = tmpfs(512)
    with Ledger(disk / "ledger.db") as ledger:
        area = DeferredStorageArea(ledger, storage, breaker=CircuitBreaker(rest_s=0))
        (disk / "ballast").write_bytes(b"x" * 300_000)
        attachments = uuids(300)
        for attachment in attachments:
            area.create(attachment, 1, b"x")
            area.remove(attachment, 1)
        recorded = (
            {claim.attachment_uuid for claim in ledger.claim(1000, ledger.clock.now_ms())} if _room(disk) else set()
        )
        assert 0 < len(recorded) < 300, "the disk was to be full half way"
        assert {name for name in attachments if storage.size(name) is not None} == recorded


def _room(disk: Path) -> bool:
    (disk / "ballast").unlink()
    return True


def test_a_locked_ledger_costs_its_timeout_once_not_for_each_file(
    ledger: Ledger, storage: FileStorage, backlog: Backlog, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    tried = 0
    real = ledger.enqueue

    def counted(*arguments: int) -> int:
        nonlocal tried
        tried += 1
        return real(*arguments)

    monkeypatch.setattr(ledger, "enqueue", counted)
    area = DeferredStorageArea(ledger, storage, backlog, breaker=CircuitBreaker(rest_s=1, monotonic=lambda: now))
    attachments = uuids(1001)
    for attachment in attachments:
        area.create(attachment, 1, b"x")
    holder = sqlite3.connect(ledger.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    for attachment in attachments[:1000]:
        area.remove(attachment, 1)
    assert tried == 1
    assert all(storage.size(attachment) is None for attachment in attachments[:1000])
    holder.execute("COMMIT")
    holder.close()
    now = 1.0  # the breaker's rest is over
    area.remove(attachments[1000], 1)
    assert tried == 2
    assert ledger.counts() == (1, 0, 0)


class _NothingWorks(FileStorage):
    def delete(self, attachment_uuid: str):
        raise StorageError(f"cannot unlink attachment {attachment_uuid}: Read-only file system; expected better", 30)


def test_what_can_be_neither_recorded_nor_unlinked_is_kept_and_said(
    ledger: Ledger, backlog: Backlog, tmp_path: Path, uuids: Uuids, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []
    storage = _NothingWorks(tmp_path / "storage", sync=False)
    area = DeferredStorageArea(ledger, storage, backlog, notify=told.append)
    ledger.close()
    kept, lost = uuids(4)[:3], "0a1b2c3d-4e5f-6789-abcd-ef0123456789"
    for attachment in (*kept, lost):
        area.remove(attachment, 1)
    assert len(backlog) == 3
    assert told == [0, 0, 0, 0], "the worker is asked to look after them"
    for attachment in kept:
        assert f"cannot remove {attachment} now, kept in memory" in caplog.text
    assert f"deletion of {lost} is forgotten, 3 wait already" in caplog.text


@pytest.mark.parametrize("nonsense", ["", "../../etc/passwd", None, 5, b"x", "\ud800" * 36])
def test_remove_never_raises_on_nonsense(area: DeferredStorageArea, ledger: Ledger, nonsense, caplog) -> None:
    area.remove(nonsense, 1)
    assert ledger.counts().total == 0
    assert "not an attachment UUID" in caplog.text
    (attachment,) = ["0a1b2c3d-4e5f-6789-abcd-ef0123456789"]
    area.remove(attachment, 2**80)  # no such content type, and no integer of SQLite's


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("?"), LedgerError("no"), KeyError("x")])
def test_remove_never_raises_whatever_happens_inside(
    area: DeferredStorageArea, ledger: Ledger, storage: FileStorage, uuids: Uuids, *, monkeypatch, error: Exception
) -> None:
    (attachment,) = uuids(1)
    area.create(attachment, 1, b"x")

    def raises(*_: object) -> None:
        raise error

    monkeypatch.setattr(ledger, "enqueue", raises)
    area.remove(attachment, 1)
    assert storage.size(attachment) is None
    monkeypatch.setattr(storage, "delete", raises)
    area.remove(attachment, 1)


def test_a_thousand_failures_are_a_few_lines(
    area: DeferredStorageArea, ledger: Ledger, uuids: Uuids, caplog: pytest.LogCaptureFixture
) -> None:
    ledger.close()
    with caplog.at_level(logging.DEBUG):
        for attachment in uuids(1000):
            area.remove(attachment, 1)
    assert len(caplog.records) <= 20


def test_the_backlog_settles_the_oldest_first_and_passes_over_bad_ones() -> None:
    backlog = Backlog()
    for number in range(40):
        backlog.add(f"{number}", 1)
    tried: list[str] = []

    def settle(attachment: str, _content_type: int) -> bool:
        tried.append(attachment)
        return int(attachment) % 3 > 0

    assert backlog.retry(settle) == 26
    assert tried == [str(number) for number in range(40)]
    assert len(backlog) == 14
    assert backlog.retry(lambda *_: True) == 14
    assert not backlog


def test_the_backlog_gives_up_a_round_when_nothing_works() -> None:
    backlog = Backlog()
    for number in range(1000):
        backlog.add(f"{number}", 1)
    tried: list[str] = []
    assert backlog.retry(lambda attachment, _: tried.append(attachment) is not None) == 0
    assert len(tried) == 16
    assert len(backlog) == 1000
