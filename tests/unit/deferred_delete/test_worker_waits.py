"""Worker: schedule, pressure, several unlinks at once, and what it says it waits for."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferred_delete import Intake, Ledger, Settings, Worker
from deferred_delete.storage.free_disk import DiskPressure
from deferred_delete.worker.schedule import Schedule
from tests.support.ledgers import enqueue

from .test_worker import SlowStorage

WaitUntil = Callable[[Callable[[], bool]], None]
# 1970-01-01 was a Thursday.
NOON_S = 12 * 3600.0


def uuids(count: int) -> list[str]:
    return [f"{n:02x}00{n:04x}-0000-4000-8000-{n:012x}" for n in range(count)]


@pytest.fixture
def slow(tmp_path: Path) -> SlowStorage:
    return SlowStorage(tmp_path / "storage")


@pytest.fixture
def made() -> Iterator[list[Worker]]:
    workers: list[Worker] = []
    yield workers
    for worker in workers:
        assert worker.stop(20)


def fill(ledger: Ledger, slow: SlowStorage, attachments: list[str], grace_ms: int = 0) -> None:
    for attachment in attachments:
        slow.create(attachment, b"content")
        enqueue(ledger, attachment, 1, grace_ms)


def closed_now(monkeypatch: pytest.MonkeyPatch) -> Schedule:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    return Schedule({"Thursday": ["20-24"]}, wall=lambda: NOON_S)


def test_outside_the_schedule_nothing_goes_and_the_status_says_until_when(
    ledger: Ledger, slow: SlowStorage, made: list[Worker], wait_until: WaitUntil, monkeypatch
) -> None:
    fill(ledger, slow, uuids(3))
    worker = Worker(Intake(ledger), slow, Settings(grace_period=0), schedule=closed_now(monkeypatch))
    made.append(worker)
    worker.start()
    wait_until(lambda: worker.status().waiting_for == "schedule")
    status = worker.status()
    assert status.pending == 3
    assert status.waiting_until is not None
    until_s = time.mktime(time.strptime(status.waiting_until[:19], "%Y-%m-%dT%H:%M:%S"))
    assert until_s - time.time() == pytest.approx(8 * 3600, abs=30)
    assert slow.unlinked == []


def test_a_nearly_full_disk_opens_the_schedule_and_leaves_the_grace_period(
    ledger: Ledger, slow: SlowStorage, made: list[Worker], wait_until: WaitUntil, monkeypatch
) -> None:
    attachments = uuids(6)
    fill(ledger, slow, attachments[:4])
    fill(ledger, slow, attachments[4:], grace_ms=3_600_000)
    worker = Worker(
        Intake(ledger),
        slow,
        Settings(grace_period=0, files_per_second=0.01),
        schedule=closed_now(monkeypatch),
        pressed=DiskPressure(slow.root, 10, free=lambda _: 5.0),
    )
    made.append(worker)
    worker.start()
    wait_until(lambda: len(slow.unlinked) == 4)
    wait_until(lambda: worker.status().waiting_for == "grace")
    assert worker.status().disk_pressure
    assert sorted(slow.unlinked) == sorted(attachments[:4])


def test_a_batch_ends_when_the_schedule_closes(
    ledger: Ledger, slow: SlowStorage, made: list[Worker], monkeypatch
) -> None:
    monkeypatch.setattr(time, "localtime", time.gmtime)
    now = [20 * 3600.0]
    fill(ledger, slow, uuids(10))
    worker = Worker(
        Intake(ledger),
        slow,
        Settings(grace_period=0),
        schedule=Schedule({"Thursday": ["20-21"]}, wall=lambda: now[0]),
    )
    made.append(worker)
    original = slow.delete

    def delete(attachment_uuid: str):
        now[0] += 1200
        return original(attachment_uuid)

    monkeypatch.setattr(slow, "delete", delete)
    outcome = worker.run_once()
    assert (outcome.deleted, outcome.released) == (3, 7)


def test_several_workers_unlink_at_the_same_time_and_lose_nothing(
    ledger: Ledger, slow: SlowStorage, made: list[Worker]
) -> None:
    fill(ledger, slow, uuids(100))
    worker = Worker(Intake(ledger), slow, Settings(grace_period=0, workers=8))
    made.append(worker)
    at_once = threading.Barrier(8)
    original, first = slow.delete, threading.local()

    def delete(attachment_uuid: str):
        if not hasattr(first, "over"):
            first.over = True
            at_once.wait(60)  # breaks unless eight are in here together
        return original(attachment_uuid)

    slow.delete = delete  # type: ignore[method-assign]
    outcomes = []
    while (outcome := worker.run_once()).claimed:
        outcomes.append(outcome)
        at_once = threading.Barrier(1)
    assert sum(outcome.deleted for outcome in outcomes) == 100
    assert ledger.counts().total == 0


def test_stop_with_several_workers_does_not_wait_for_a_hung_disk(ledger: Ledger, slow: SlowStorage) -> None:
    attachments = uuids(40)
    fill(ledger, slow, attachments)
    slow.gate.clear()
    worker = Worker(Intake(ledger), slow, Settings(grace_period=0, workers=4))
    worker.start()
    assert slow.entered.wait(60)
    assert worker.stop(60), "the worker itself ended"
    counts = ledger.counts()
    assert counts.total == 40
    assert 1 <= counts.claimed <= 4, "only what hangs is still in hand"
    slow.gate.set()
    following = Worker(Intake(ledger), slow, Settings(grace_period=0))
    ledger.recover()  # as the next start does
    while following.run_once().claimed:
        pass
    assert ledger.counts().total == 0
    assert all(slow.size(attachment) is None for attachment in attachments)


def test_a_failed_file_among_several_workers_is_kept(ledger: Ledger, slow: SlowStorage, made: list[Worker]) -> None:
    attachments = uuids(20)
    fill(ledger, slow, attachments)
    slow.failures = {attachments[3]: 1, attachments[9]: 1}
    worker = Worker(Intake(ledger), slow, Settings(grace_period=0, workers=4))
    made.append(worker)
    outcome = worker.run_once()
    assert (outcome.deleted, outcome.failed) == (18, 2)
    assert ledger.counts().failed == 2


@pytest.mark.parametrize(
    ("prepare", "reason"),
    [
        (lambda worker, ledger: worker.pause(), "pause"),
        (lambda worker, ledger: None, "grace"),
        (lambda worker, ledger: ledger.fail(ledger.claim(1, 2**53)[0].pending_id, "no", 2**52), "retry"),
    ],
    ids=["pause", "grace", "retry"],
)
def test_the_status_says_what_is_waited_for(
    ledger: Ledger, slow: SlowStorage, made: list[Worker], prepare, reason: str
) -> None:
    fill(ledger, slow, uuids(1), grace_ms=3_600_000)
    worker = Worker(Intake(ledger), slow, Settings())
    made.append(worker)
    assert worker.status().waiting_for == "stopped"
    prepare(worker, ledger)
    worker.start()
    give_up = time.monotonic() + 60
    while worker.status().waiting_for != reason:
        assert time.monotonic() < give_up, worker.status()
        time.sleep(0.01)


def test_the_status_estimates_how_long_it_takes(ledger: Ledger, slow: SlowStorage, made: list[Worker]) -> None:
    worker = Worker(Intake(ledger), slow, Settings(files_per_second=2))
    made.append(worker)
    assert worker.status().left_s == 0
    fill(ledger, slow, uuids(10))
    assert worker.status().left_s == 5.0
    limitless = Worker(Intake(ledger), slow, Settings())
    assert limitless.status().left_s is None
