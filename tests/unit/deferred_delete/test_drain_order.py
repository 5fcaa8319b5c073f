"""Drain now and retry: what they reach, what they leave alone, and that a restart goes on with them."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

from deferred_delete import FileStorage, Intake, Ledger, Settings, Worker
from deferred_delete.ledger.rows import Failure
from tests.support.ledgers import enqueue

HOUR_MS = 3_600_000
Uuids = Callable[[int], list[str]]
WaitUntil = Callable[[Callable[[], bool]], None]


def stored(storage: FileStorage, ledger: Ledger, names: list[str], grace_ms: int = HOUR_MS) -> None:
    for name in names:
        storage.create(name, b"x")
    ledger.enqueue_many([(name, 1) for name in names], grace_ms)


def never() -> dict[str, list[str]]:
    """A schedule that is closed today."""
    another = (datetime.datetime.now().astimezone() + datetime.timedelta(days=3)).strftime("%A")
    return {another: ["0-1"]}


def test_an_order_reaches_what_waits_and_nothing_that_comes_later(
    storage: FileStorage, ledger: Ledger, uuids: Uuids, wait_until: WaitUntil
) -> None:
    first, later = uuids(1200), uuids(5)
    stored(storage, ledger, first)  # more than one slice
    worker = Worker(Intake(ledger), storage, Settings(schedule=never()))
    worker.drain_now()
    stored(storage, ledger, later)
    assert worker.status().draining_now
    worker.start()
    wait_until(lambda: not worker.status().draining_now)
    assert worker.stop(10)
    assert [name for name in first if storage.size(name) is not None] == []
    assert all(storage.size(name) is not None for name in later)
    assert ledger.counts().pending == 5


def test_an_order_is_remembered_across_a_restart(tmp_path: Path, uuids: Uuids, wait_until: WaitUntil) -> None:
    storage = FileStorage(tmp_path / "storage", sync=False)
    names = uuids(3)
    with Ledger(tmp_path / "ledger.db") as ledger:
        stored(storage, ledger, names)
        Worker(Intake(ledger), storage, Settings()).drain_now()
    with Ledger(tmp_path / "ledger.db") as ledger:
        worker = Worker(Intake(ledger), storage, Settings())
        worker.start()
        wait_until(lambda: ledger.counts().total == 0)
        assert worker.stop(10)
        assert not worker.status().draining_now


def test_a_pause_holds_against_an_order(storage: FileStorage, ledger: Ledger, uuids: Uuids) -> None:
    names = uuids(3)
    stored(storage, ledger, names)
    worker = Worker(Intake(ledger), storage, Settings())
    worker.pause()
    worker.drain_now()
    worker.start()
    assert worker.stop(10)
    assert all(storage.size(name) is not None for name in names)


def test_an_order_does_not_hurry_what_failed(ledger: Ledger, uuids: Uuids) -> None:
    """A file that cannot be unlinked would be tried again and again, as fast as the machine goes."""
    (name,) = uuids(1)
    enqueue(ledger, name, 1)
    (claim,) = ledger.claim(1, ledger.clock.now_ms())
    later = ledger.clock.now_ms() + HOUR_MS
    ledger.settle(failed=[Failure(claim.pending_id, "EBUSY", later)])
    ledger.order.give()
    assert not ledger.order.hasten(ledger.clock.now_ms())
    assert not ledger.order.active
    assert ledger.next_due() == later


def test_an_order_with_nothing_to_do_is_over_at_once(ledger: Ledger) -> None:
    ledger.order.give()
    assert not ledger.order.active


def test_retry_makes_all_that_failed_due_and_only_that(storage: FileStorage, ledger: Ledger, uuids: Uuids) -> None:
    names = uuids(3)
    ledger.enqueue_many([(name, 1) for name in names[:2]])
    now = ledger.clock.now_ms()
    ledger.settle(failed=[Failure(claim.pending_id, "EIO", now + HOUR_MS) for claim in ledger.claim(9, now)])
    enqueue(ledger, names[2], 1, HOUR_MS)
    assert [(row.attempts, row.last_error) for row in ledger.failures(10)] == [(1, "EIO"), (1, "EIO")]
    worker = Worker(Intake(ledger), storage, Settings())
    assert worker.retry() == 2
    assert len(ledger.claim(9, ledger.clock.now_ms())) == 2
    assert worker.retry() == 0
