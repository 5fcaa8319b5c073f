"""Worker: drains what is due, sleeps otherwise, stops promptly, outlives everything, loses nothing."""

import errno
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import DeferredDelete, FileStorage, Intake, Ledger, LedgerError, Settings, StorageError, Worker
from deferred_delete.storage.storage import Deleted
from tests.support.ledgers import enqueue

Uuids = Callable[[int], list[str]]
WaitUntil = Callable[[Callable[[], bool]], None]


class SlowStorage(FileStorage):
    """Each unlink waits for the gate, which can shut by itself, tells that it waits, and can be made to fail."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, sync=False)
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()
        self.shut_after: int | None = None
        self.failures: dict[str, int] = {}
        self.error: Exception = StorageError("cannot unlink: Device or resource busy; expected better", errno.EBUSY)
        self.unlinked: list[str] = []

    def delete(self, attachment_uuid: str) -> Deleted:
        if len(self.unlinked) == self.shut_after:
            self.shut_after = None
            self.gate.clear()
        self.entered.set()
        assert self.gate.wait(100)
        if self.failures.get(attachment_uuid, 0) > 0:
            self.failures[attachment_uuid] -= 1
            raise self.error
        deleted = super().delete(attachment_uuid)
        self.unlinked.append(attachment_uuid)
        return deleted


@pytest.fixture
def slow(tmp_path: Path) -> SlowStorage:
    return SlowStorage(tmp_path / "storage")


@pytest.fixture
def intake(ledger: Ledger) -> Intake:
    return Intake(ledger)


@pytest.fixture
def make(intake: Intake, slow: SlowStorage):
    """Makes workers and stops them at the end."""
    made: list[Worker] = []

    def build(**changes: object) -> Worker:
        defaults: dict[str, object] = {"grace_period": 0, "retry_min": 0.01, "retry_max": 0.05}
        worker = Worker(intake, slow, Settings(**(defaults | changes)), jitter=lambda: 0.0)
        made.append(worker)
        return worker

    yield build
    slow.gate.set()
    for worker in made:
        assert worker.stop(60)


def _fill(ledger: Ledger, storage: FileStorage, attachments: list[str], grace_ms: int = 0) -> None:
    for attachment in attachments:
        storage.create(attachment, b"12345")
        enqueue(ledger, attachment, 1, grace_ms)


def _on_disk(storage: FileStorage) -> set[str]:
    return {path.name for path in storage.root.rglob("*") if path.is_file()}


def test_drains_what_was_pending_before_it_started(make, ledger, slow, uuids: Uuids, wait_until: WaitUntil) -> None:
    _fill(ledger, slow, uuids(200))
    worker = make()
    worker.start()
    wait_until(lambda: worker.status().deleted_since_start == 200)  # counted when the rows have gone
    assert ledger.counts().total == 0
    assert list(slow.root.iterdir()) == []
    status = worker.status()
    assert (status.deleted_since_start, status.freed_bytes_since_start, status.failures_since_start) == (200, 1000, 0)
    assert status.files_per_second > 0
    assert status.oldest_age_s is None
    assert status.running


def test_the_file_goes_first_and_the_row_second(make, ledger, slow, uuids: Uuids) -> None:
    """Seen by stopping the world between the two."""
    _fill(ledger, slow, uuids(1))
    worker = make()
    real = ledger.settle
    seen: list[tuple[set[str], int]] = []

    def settle(*arguments: object) -> None:
        seen.append((_on_disk(slow), ledger.counts().claimed))
        real(*arguments)

    ledger.settle = settle
    worker.run_once()
    assert seen == [(set(), 1)]


def test_run_once_tells_what_came_of_it(make, ledger, slow, uuids: Uuids) -> None:
    attachments = uuids(4)
    _fill(ledger, slow, attachments)
    slow.delete(attachments[0])
    slow.failures[attachments[1]] = 1
    outcome = make(batch_size=3).run_once()
    assert (outcome.claimed, outcome.deleted, outcome.missing, outcome.failed, outcome.released) == (3, 1, 1, 1, 0)
    assert outcome.freed_bytes == 5
    assert ledger.counts() == (1, 0, 1)


def test_every_deletion_wakes_an_idle_worker(
    make, intake, slow, *, uuids: Uuids, wait_until: WaitUntil, monkeypatch
) -> None:
    monkeypatch.setattr("deferred_delete.worker.upkeep.GATHER_S", 0.001)
    worker = make()
    worker.start()
    for attachment in uuids(300):  # one lost wake-up would sleep for an hour
        slow.create(attachment, b"x")
        intake.add(attachment, 1)
        worker.notify()
        if int(attachment[0], 16) % 2:
            wait_until(lambda: intake.counts().total == 0)
    wait_until(lambda: intake.counts().total == 0)


@pytest.mark.parametrize("before", ["start", "pause", "trouble"])
def test_a_deletion_added_just_after_the_worker_looked_is_not_slept_through(
    make, intake, ledger, *, uuids: Uuids, wait_until: WaitUntil, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    worker = make()
    real = ledger.next_due
    looked = 0

    def looks_and_then_misses_one() -> int | None:
        nonlocal looked
        looked += 1
        if before == "trouble" and looked == 1:
            raise LedgerError("disk I/O error")
        due_ms = real()
        if due_ms is None and looked <= 3:
            intake.add(uuids(1)[0], 1)  # as another thread would, right here
            worker.notify()
        return due_ms

    if before == "pause":
        worker.pause()
        worker.start()
    monkeypatch.setattr(ledger, "next_due", looks_and_then_misses_one)
    worker.resume() if before == "pause" else worker.start()
    wait_until(lambda: looked > 1 and intake.counts().total == 0 and worker.status().missing_since_start > 0)


def test_an_idle_worker_does_nothing_at_all(
    make, intake, ledger, *, uuids: Uuids, wait_until: WaitUntil, monkeypatch
) -> None:
    monkeypatch.setattr(intake, "_grace_ms", 3_600_000)
    looked = 0
    real = ledger.next_due

    def counted() -> int | None:
        nonlocal looked
        looked += 1
        return real()

    monkeypatch.setattr(ledger, "next_due", counted)
    worker = make()
    enqueue(ledger, uuids(1)[0], 1, grace_ms=3_600_000)
    worker.start()
    wait_until(lambda: looked > 0)
    time.sleep(0.5)
    before = looked
    time.sleep(0.5)
    assert looked == before
    intake.add(uuids(1)[0], 1)
    worker.notify()
    wait_until(lambda: ledger.counts().pending == 2)
    time.sleep(0.5)
    before = looked
    time.sleep(0.5)
    assert looked == before


def test_nothing_is_unlinked_before_its_grace_period_is_over(
    make, ledger, slow, uuids: Uuids, wait_until: WaitUntil
) -> None:
    early: list[int] = []
    due: dict[str, int] = {}
    real = slow.delete

    def checked(attachment: str) -> Deleted:
        early.extend([1] if ledger.clock.now_ms() < due[attachment] else [])
        return real(attachment)

    slow.delete = checked
    worker = make()
    worker.start()
    for attachment in uuids(50):
        slow.create(attachment, b"x")
        due[attachment] = ledger.clock.now_ms() + 150
        enqueue(ledger, attachment, 1, grace_ms=150)
        worker.notify()
    wait_until(lambda: ledger.counts().total == 0)
    assert early == []
    assert _on_disk(slow) == set()


def test_stop_in_mid_batch_gives_the_rest_back(make, ledger, slow, uuids: Uuids, wait_until: WaitUntil) -> None:
    attachments = uuids(60)
    _fill(ledger, slow, attachments)
    slow.shut_after = 5
    worker = make(batch_size=60)
    worker.start()
    wait_until(lambda: not slow.gate.is_set())
    assert not worker.stop(0.0), "the file in hand is waited for"
    slow.gate.set()
    assert worker.stop(60)
    done = set(slow.unlinked)
    assert len(done) == 6
    counts = ledger.counts()
    assert (counts.claimed, counts.failed, counts.pending) == (0, 0, 60 - len(done))
    assert _on_disk(slow) == set(attachments) - done
    worker.start()  # and on again
    wait_until(lambda: ledger.counts().total == 0)


def test_stop_cuts_the_throttle_short(make, ledger, slow, uuids: Uuids, wait_until: WaitUntil) -> None:
    _fill(ledger, slow, uuids(10))
    worker = make(throttle_delay_ms=60_000)
    worker.start()
    wait_until(lambda: len(slow.unlinked) == 1)
    assert worker.stop(60)
    assert ledger.counts() == (9, 0, 0)


def test_stop_does_not_wait_for_an_unlink_on_a_dead_disk(
    make, ledger, slow, uuids: Uuids, wait_until: WaitUntil
) -> None:
    _fill(ledger, slow, uuids(10))
    slow.gate.clear()
    worker = make()
    worker.start()
    assert slow.entered.wait(60)
    assert worker.stop(0.05) is False
    slow.gate.set()
    wait_until(lambda: not worker.status().running)
    assert ledger.counts() == (9, 0, 0)


def test_stop_before_start_and_twice_is_harmless(make) -> None:
    worker = make()
    assert worker.stop()
    worker.start()
    worker.start()
    assert worker.stop(60)
    assert worker.stop(60)


def test_pause_stops_in_mid_batch_and_resume_goes_on(make, ledger, slow, uuids: Uuids, wait_until: WaitUntil) -> None:
    _fill(ledger, slow, uuids(50))
    slow.shut_after = 3
    worker = make(batch_size=50)
    worker.start()
    wait_until(lambda: not slow.gate.is_set())
    worker.pause()
    slow.gate.set()
    wait_until(lambda: ledger.counts().claimed == 0)
    rest = len(_on_disk(slow))
    assert rest == 46, "all but the file in hand"
    enqueue(ledger, uuids(1)[0], 1)
    worker.notify()
    time.sleep(0.2)
    assert len(_on_disk(slow)) == rest
    assert worker.status().paused
    worker.resume()
    wait_until(lambda: ledger.counts().total == 0)


def test_a_worker_started_on_a_paused_ledger_stays_paused(
    make, ledger, slow, uuids: Uuids, wait_until: WaitUntil
) -> None:
    make().pause()
    _fill(ledger, slow, uuids(3))
    worker = make()
    worker.start()
    time.sleep(0.2)
    assert ledger.counts() == (3, 0, 0)
    assert worker.status().paused
    worker.resume()
    wait_until(lambda: ledger.counts().total == 0)


@pytest.mark.parametrize(
    "error",
    [
        StorageError("cannot unlink: Permission denied; expected better", errno.EACCES),
        StorageError("cannot unlink: Input/output error; expected better", errno.EIO),
        ValueError("not even ours"),
    ],
)
def test_a_failed_unlink_is_tried_again_until_it_works(
    make, ledger, slow, uuids: Uuids, *, wait_until: WaitUntil, error: Exception
) -> None:
    good, bad = uuids(2)
    _fill(ledger, slow, [bad, good])
    slow.failures[bad] = 4
    slow.error = error
    worker = make()
    worker.start()
    wait_until(lambda: worker.status().deleted_since_start == 2)  # counted when the rows have gone
    assert ledger.counts().total == 0
    status = worker.status()
    assert status.failures_since_start == 4
    assert status.last_error is not None
    assert str(error) in status.last_error


def test_an_error_that_is_no_utf_8_does_not_keep_its_batch_from_being_settled(make, ledger, slow, uuids: Uuids) -> None:
    bad, good = uuids(2)
    _fill(ledger, slow, [bad, good])
    slow.failures[bad] = 1
    slow.error = StorageError("cannot unlink /archiv\udce9/x:\n no; expected better" + "!" * 1000)  # a Latin-1 folder
    outcome = make().run_once()
    assert (outcome.deleted, outcome.failed) == (1, 1)
    assert ledger.counts() == (0, 0, 1)


def test_failed_rows_wait_longer_each_time_and_keep_their_error(make, ledger, slow, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    (attachment,) = uuids(1)
    _fill(ledger, slow, [attachment])
    slow.failures[attachment] = 99
    worker = make(retry_min=1, retry_max=6)
    delays: list[int] = []
    for _ in range(5):
        assert worker.run_once().failed == 1
        delays.append((ledger.next_due() or 0) - clock.time_ms)
        assert worker.run_once().claimed == 0, "not before its time"
        clock.time_ms += delays[-1]
    assert delays == [1000, 2000, 4000, 6000, 6000]


def test_a_disk_that_takes_no_unlink_is_left_alone_for_a_while(
    make, ledger, slow, uuids: Uuids, wait_until: WaitUntil
) -> None:
    attachments = uuids(60)
    _fill(ledger, slow, attachments)
    slow.failures = dict.fromkeys(attachments, 1)
    worker = make(batch_size=20)
    worker.start()
    wait_until(lambda: worker.status().deleted_since_start == 60)
    assert ledger.counts().total == 0
    assert worker.status().failures_since_start == 60


@pytest.mark.parametrize("method", ["claim", "settle", "next_due"])
@pytest.mark.parametrize("error", [LedgerError("disk I/O error"), RuntimeError("a mistake of ours"), MemoryError()])
def test_the_thread_outlives_every_exception(
    make, ledger, slow, uuids: Uuids, *, wait_until: WaitUntil, monkeypatch, method: str, error: Exception
) -> None:
    real = getattr(ledger, method)
    raised = 0

    def fails_twice(*arguments: object) -> object:
        nonlocal raised
        if raised < 2:
            raised += 1
            raise error
        return real(*arguments)

    monkeypatch.setattr(ledger, method, fails_twice)
    attachments = uuids(5)
    _fill(ledger, slow, attachments)
    worker = make()
    worker.start()
    wait_until(lambda: ledger.counts().total == 0)
    assert raised == 2
    assert _on_disk(slow) == set()


def test_a_worker_whose_ledger_is_closed_ends_without_a_word(
    make, ledger, wait_until: WaitUntil, caplog: pytest.LogCaptureFixture
) -> None:
    """As where its stop raised: a closed ledger is never opened again."""
    worker = make()
    worker.start()
    ledger.close()
    worker.wake()
    wait_until(lambda: not any(thread.name == "deferred-delete" for thread in threading.enumerate()))
    assert caplog.text == ""


def test_files_whose_settlement_failed_are_not_counted_as_lost(make, ledger, slow, uuids: Uuids, monkeypatch) -> None:
    _fill(ledger, slow, uuids(3))
    worker = make()
    real = ledger.settle

    def full(*_: object) -> None:
        raise LedgerError("database or disk is full")

    monkeypatch.setattr(ledger, "settle", full)
    with pytest.raises(LedgerError):
        worker.run_once()
    assert ledger.counts() == (0, 3, 0)
    monkeypatch.setattr(ledger, "settle", real)
    outcome = worker.run_once()
    assert (outcome.claimed, outcome.missing) == (3, 3)
    assert ledger.counts().total == 0


def test_the_log_is_copied_back_while_everything_waits_for_its_grace_period(ledger: Ledger, uuids: Uuids) -> None:
    for _ in range(30):
        ledger.enqueue_many([(attachment, 1) for attachment in uuids(1500)], 3_600_000)
    assert ledger.path.with_name("ledger.db-wal").stat().st_size < 10_000_000


def test_a_read_only_disk_keeps_every_file_and_every_row(tmpfs, remount, tmp_path, uuids: Uuids, wait_until) -> None:
    disk = tmpfs(1024)
    settings = Settings(grace_period=0, retry_min=0.01, retry_max=0.05)
    service = DeferredDelete(disk / "storage", settings, sync=False, ledger_path=tmp_path / "ledger.db")
    attachments = uuids(30)
    for attachment in attachments:
        service.area.create(attachment, 1, b"x")
    remount(disk, "ro")
    for attachment in attachments:
        service.area.remove(attachment, 1)
    service.worker.start()
    wait_until(lambda: service.ledger.counts().failed == 30)
    assert "Read-only file system" in str(service.worker.status().last_error)
    assert _on_disk(service.storage) == set(attachments)
    remount(disk, "rw")
    wait_until(lambda: service.ledger.counts().total == 0)
    assert _on_disk(service.storage) == set()
    service.close()


def test_after_close_a_removal_waits_for_the_next_start(tmp_path: Path, uuids: Uuids) -> None:
    service = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    (attachment,) = uuids(1)
    service.area.create(attachment, 1, b"x")
    service.close()
    service.close()
    service.area.remove(attachment, 1)
    assert service.storage.size(attachment) == 1
    following = DeferredDelete(tmp_path / "storage", Settings(), sync=False)
    assert following.ledger.counts() == (1, 0, 0)
    following.close()


def test_status_is_plain_data(make, ledger, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    enqueue(ledger, uuids(1)[0], 1, grace_ms=1000)
    clock.time_ms += 2500
    status = make().status()
    assert (status.pending, status.claimed, status.failed, status.oldest_age_s) == (1, 0, 0, 2.5)
    assert not status.running
    assert status.files_per_second == 0


def test_a_batch_that_is_withheld_ends_after_the_file_in_hand(
    slow: SlowStorage, ledger: Ledger, uuids: Uuids, wait_until: WaitUntil
) -> None:
    """A restore looks for its files: those of this batch must still be there to be found."""
    for name in uuids(5):
        slow.create(name, b"x")
        enqueue(ledger, name, 1)
    worker = Worker(Intake(ledger), slow, Settings(batch_size=5))
    slow.gate.clear()
    worker.start()
    assert slow.entered.wait(60)
    worker.withhold(True)
    slow.gate.set()
    wait_until(lambda: ledger.counts().claimed == 0 and bool(slow.unlinked))
    assert len(slow.unlinked) == 1
    assert ledger.counts().pending == 4
    worker.withhold(False)
    wait_until(lambda: ledger.counts().total == 0)
    assert worker.stop(60)
