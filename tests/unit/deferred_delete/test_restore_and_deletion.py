"""Restores and background deletions side by side, without Orthanc: each ends, and neither waits for the other."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from deferred_delete import LedgerBusyError
from deferred_delete.ledger import restore_queries
from deferred_delete.ledger.restore_rows import Restore
from tests.support.archive import Archive, dicom, orthanc_id


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


def test_a_restore_begun_while_the_thread_decides_is_not_undone(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread has found that nothing is gathered, and is about to let the worker go, when a request arrives."""
    deleted_study(archive, 1, 1)
    request = threading.Thread(target=archive.service.restore, args=("1.1",))
    let_go = archive.worker.withhold

    def withhold(withheld: bool) -> None:
        if not withheld and request.ident is None:
            request.start()
            request.join(0.5)  # whole where nothing stops it; at the least it is recorded
            assert archive.ledger.restores.gathering
        let_go(withheld)

    monkeypatch.setattr(archive.worker, "withhold", withhold)
    archive.service.start()
    archive.step()
    request.join(20)
    assert archive.ledger.restores.gathering
    assert archive.worker.withheld, "a file of the wanted study could be unlinked now"


def test_a_busy_ledger_does_not_keep_the_service_from_starting(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_gathering_withholds_the_worker_and_waits_for_what_it_has_in_hand(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker claims a file of the study just before its files are held, and gives it back untouched."""
    deleted_study(archive, 1, 3)
    hold, claims = archive.ledger.restores.hold, []

    def claim_and_hold(restore: Restore) -> bool:
        if not claims:
            claims.extend(archive.ledger.claim(1, archive.clock.now_ms() + 3_600_000))
        return hold(restore)

    monkeypatch.setattr(archive.ledger.restores, "hold", claim_and_hold)
    archive.service.restore("1.1")
    archive.run(5)
    assert restore_state(archive) == "gathering"
    assert archive.worker.withheld
    archive.ledger.release([claims[0].pending_id])
    assert archive.run(10, lambda: restore_state(archive) == "done")
    assert not archive.worker.withheld
    assert len(archive.of(1)) == 3


def test_gathering_does_not_look_at_what_is_deleted_after_it_began(archive: Archive) -> None:
    """Else it would last, with the drain at a stand, as long as somebody deletes."""
    deleted_study(archive, 1, 3)
    archive.service.restore("1.1")
    number = 0
    while restore_state(archive) == "gathering":
        number += 1
        assert number < 20
        archive.store(dicom(2, number))
        archive.delete(f"1.2.{number}")
        archive.step()
    assert archive.run(10, lambda: restore_state(archive) == "done")


def test_a_bad_file_goes_behind_the_others_and_the_restore_gives_up_on_it(archive: Archive) -> None:
    deleted_study(archive, 1, 20)
    archive.ill_ones = {"1.1.0"}
    archive.service.restore("1.1")
    assert archive.run(30, lambda: len(archive.of(1)) == 19)
    assert archive.run(200, lambda: restore_state(archive) == "incomplete")
    (ended,) = archive.service.restores()
    assert ended.outcomes == {"restored": 19, "unanswered": 1}
    assert ended.error is not None
    assert ended.error.startswith("gave up after 60 attempts in a row: POST /instances: HTTP 507")
    assert ended.details == [("1.1.0", "unanswered", "POST /instances: HTTP 507: The file storage is full")]
    assert ended.files_held == 1
    assert archive.service.release("1.1") == 1


def test_an_older_version_stays_held_while_the_newest_is_not_back(archive: Archive) -> None:
    for _ in range(2):
        archive.store(dicom(1, 0))
        archive.delete("1.1.0")
    archive.ill_ones = {"1.1.0"}
    archive.service.restore("1.1")
    assert archive.run(200, lambda: restore_state(archive) == "incomplete")
    assert archive.ledger.restores.files_held() == 2


def test_what_a_restore_brings_back_stays_although_a_running_deletion_lists_it(archive: Archive) -> None:
    for number in range(3):
        archive.store(dicom(1, number))
    archive.ill_ones = {"1.1.0", "1.1.1", "1.1.2"}
    archive.service.delete([orthanc_id(1)])
    assert archive.run(10, lambda: deletion_state(archive) == "running")
    archive.delete("1.1.1")  # by somebody else
    archive.ill_ones = {"1.1.0"}
    archive.service.restore("1.1")
    assert archive.run(20, lambda: restore_state(archive) == "done")
    archive.ill_ones = set()
    assert archive.run(20, lambda: deletion_state(archive) == "done")
    assert archive.of(1) == ["1.1.1"]
    (deletion,) = archive.service.deletions()
    assert deletion.message == "2 of 3 instances deleted; 1 arrived after the start and stay"


def test_a_deletion_of_a_study_that_is_coming_back_waits_for_the_end_of_that(archive: Archive) -> None:
    deleted_study(archive, 1, 10)
    archive.ill_ones = {"1.1.0"}
    archive.service.restore("1.1")
    assert archive.run(10, lambda: len(archive.of(1)) > 0)
    archive.service.delete([orthanc_id(1)])
    archive.run(20)
    (deletion,) = archive.service.deletions()
    assert (deletion.state, deletion.error) == ("queued", "waits until the restore of study 1.1 is over, or cancelled")
    assert archive.service.cancel_restore("1.1")
    assert archive.run(10, lambda: deletion_state(archive) == "done")
    assert archive.of(1) == []


@pytest.mark.parametrize("state", ["gathering", "importing"])
def test_a_cancelled_restore_gives_its_files_back_and_can_be_asked_again(archive: Archive, state: str) -> None:
    deleted_study(archive, 1, 20)
    archive.ill_ones = {f"1.1.{number}" for number in range(20) if number > 4}
    archive.service.restore("1.1")
    assert archive.run(
        60, lambda: restore_state(archive) == state and (state == "gathering" or len(archive.of(1)) == 5)
    )
    assert archive.service.cancel_restore("1.1")
    assert not archive.service.cancel_restore("1.1")
    (cancelled,) = archive.service.restores()
    assert (cancelled.state, cancelled.files_held) == ("cancelled", 0)
    assert "cancelled: what is back stays" in cancelled.message
    assert archive.ledger.counts().pending == 20
    assert not archive.worker.withheld
    back = len(archive.of(1))
    assert cancelled.outcomes == ({} if state == "gathering" else {"restored": 5, "waiting": 15})
    archive.ill_ones = set()
    assert sum(each.instances for each in archive.service.deleted()) == 20 - back or state == "gathering"
    archive.service.restore("1.1")
    assert archive.run(20, lambda: restore_state(archive) == "done")
    assert len(archive.of(1)) == 20


def test_a_restore_that_is_cancelled_during_a_request_stops_there(archive: Archive) -> None:
    deleted_study(archive, 1, 20)
    archive.service.restore("1.1")
    archive.run(10, lambda: restore_state(archive) == "importing")
    archive.before_answer = lambda method, _path: method == "POST" and archive.service.cancel_restore("1.1")
    archive.step()
    assert restore_state(archive) == "cancelled"
    assert len(archive.of(1)) == 1
    assert archive.ledger.restores.files_held() == 0


def test_a_cancel_while_files_are_being_held_gives_back_all_of_them(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted_study(archive, 1, 5)
    archive.service.restore("1.1")
    archive.run(1)
    write = archive.ledger._database.write

    def cancel_after_the_first(action: str, statement: str, *parameters: object) -> int:
        changed = write(action, statement, *parameters)
        if statement == restore_queries.HOLD and changed:
            monkeypatch.setattr(archive.ledger._database, "write", write)
            archive.service.cancel_restore("1.1")
        return changed

    monkeypatch.setattr(archive.ledger._database, "write", cancel_after_the_first)
    archive.run(5)
    assert restore_state(archive) == "cancelled"
    assert archive.ledger.restores.files_held() == 0
    assert archive.ledger.counts().pending == 5


def test_a_new_request_takes_over_what_a_cancelled_restore_had_not_given_back(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a kill in the middle of the cancel, or beside it."""
    deleted_study(archive, 1, 5)
    archive.mood = "full"
    archive.service.restore("1.1")
    archive.run(10, lambda: restore_state(archive) == "importing")
    monkeypatch.setattr(archive.ledger.restores, "give_back", lambda: None)
    archive.service.cancel_restore("1.1")
    archive.service.restore("1.1")
    archive.run(5)
    monkeypatch.undo()
    archive.ledger.restores.give_back()
    assert archive.ledger.restores.files_held() == 5
    archive.mood = "healthy"
    assert archive.run(20, lambda: restore_state(archive) == "done")


def test_a_deletion_that_orthanc_refuses_for_a_day_fails_and_can_be_queued_again(archive: Archive) -> None:
    for number in range(20):
        archive.store(dicom(1, number))
    archive.ill_ones = {"1.1.7"}
    archive.service.delete([orthanc_id(1)])
    began_ms = archive.clock.now_ms()
    assert archive.run(3000, lambda: deletion_state(archive) == "failed")
    assert 0.8 < (archive.clock.now_ms() - began_ms) / 86_400_000 < 1.2
    (failed,) = archive.service.deletions()
    assert failed.error == "gave up after 300 attempts in a row: DELETE /instances/1.1.7: HTTP 500: index is busy"
    assert failed.message.startswith("given up: 19 of 20 instances were deleted")
    archive.ill_ones = set()
    assert archive.service.delete([orthanc_id(1)]) == 1
    assert archive.run(10, lambda: deletion_state(archive) == "done")
    assert archive.of(1) == []


def test_a_deletion_that_cannot_begin_fails_as_well(archive: Archive) -> None:
    archive.mood = "away"
    archive.service.delete([orthanc_id(1)])
    assert archive.run(3000, lambda: deletion_state(archive) == "failed")


def test_a_restore_whose_number_was_another_s_looks_at_everything(archive: Archive) -> None:
    """SQLite gives the number of a forgotten row out again."""
    deleted_study(archive, 1, 1)
    archive.service.restore("1.1")
    archive.step()
    archive.service.cancel_restore("1.1")
    archive.step()
    archive.ledger._database.write("forget in", "DELETE FROM restores")
    deleted_study(archive, 2, 3)
    archive.service.restore("1.2")
    assert archive.run(20, lambda: restore_state(archive) == "done")
    assert len(archive.of(2)) == 3
