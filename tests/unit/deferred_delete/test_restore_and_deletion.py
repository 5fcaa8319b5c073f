"""Restores and background deletions side by side, without Orthanc: each comes to an end, and neither waits for the other."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferred_delete import LedgerBusyError
from tests.unit.deferred_delete.archive import Archive, dicom, orthanc_id


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    made = Archive(tmp_path)
    yield made
    made.close()


def deleted_study(archive: Archive, study: int, count: int) -> list[str]:
    """A study whose files all wait."""
    for number in range(count):
        archive.store(dicom(study, number))
    gone = archive.of(study)
    for sop in gone:
        archive.delete(sop)
    return gone


def restore_state(archive: Archive) -> str:
    return archive.service.restores()[0].state


def deletion_state(archive: Archive) -> str:
    return archive.service.deletions()[0].state


def test_a_running_deletion_and_a_restore_both_end(archive: Archive) -> None:
    wanted = deleted_study(archive, 1, 40)
    for number in range(20):
        archive.store(dicom(2, number))
    archive.ill_ones = {"1.2.7"}
    archive.service.delete([orthanc_id(2)])
    assert archive.run(10, lambda: archive.of(2) == ["1.2.7"])
    archive.service.restore("1.1")
    assert archive.run(10, lambda: restore_state(archive) == "importing")
    archive.ill_ones = set()
    assert archive.run(200, lambda: (restore_state(archive), deletion_state(archive)) == ("done", "done"))
    assert archive.of(1) == wanted
    assert archive.of(2) == []


def test_a_restore_begun_while_the_thread_decides_is_not_undone(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread has found that nothing is gathered, and is about to let the worker go, when a request arrives."""
    deleted_study(archive, 1, 1)
    archive.worker.withhold(True)
    request = threading.Thread(target=archive.service.restore, args=("1.1",))
    let_go = archive.worker.withhold

    def withhold(withheld: bool) -> None:
        if not withheld and request.ident is None:
            request.start()
            request.join(0.5)  # whole where nothing stops it; at the least it is recorded
            assert archive.ledger.restores.gathering
        let_go(withheld)

    monkeypatch.setattr(archive.worker, "withhold", withhold)
    # The restorer was handed the method before.
    for chore in archive.thread.chores:
        restorer = chore.__self__  # type: ignore[attr-defined]
        if hasattr(restorer, "_withhold"):
            restorer._withhold = withhold
    archive.step()
    request.join(20)
    assert archive.ledger.restores.gathering
    assert archive.worker._withheld, "a file of the wanted study could be unlinked now"


def test_a_busy_ledger_does_not_keep_the_service_from_starting(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    writing = archive.ledger._database.write

    def busy(*_: object) -> int:
        raise LedgerBusyError("the ledger is busy")

    monkeypatch.setattr(archive.ledger._database, "write", busy)
    archive.service.start()
    monkeypatch.setattr(archive.ledger._database, "write", writing)
    deleted_study(archive, 1, 3)
    archive.service.restore("1.1")
    assert archive.run(20, lambda: restore_state(archive) == "done")


def test_a_full_storage_does_not_hold_up_deletions_and_the_restore_comes_to_an_end(archive: Archive) -> None:
    deleted_study(archive, 1, 5)
    for number in range(20):
        archive.store(dicom(2, number))
    archive.mood = "full"
    archive.service.restore("1.1")
    archive.run(5)
    archive.service.delete([orthanc_id(2)])
    assert archive.run(20, lambda: deletion_state(archive) == "done"), "it would free the space"
    assert archive.run(300, lambda: restore_state(archive) == "incomplete")
    (ended,) = archive.service.restores()
    assert ended.files_held == 5
    assert "file storage is full" in (ended.error or "")
    archive.mood = "healthy"
    archive.service.restore("1.1")
    assert archive.run(20, lambda: restore_state(archive) == "done")
    assert len(archive.of(1)) == 5
