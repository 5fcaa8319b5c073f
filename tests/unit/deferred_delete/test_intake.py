"""Journal and ledger as one: a removal is neither forgotten nor done twice, whatever the ledger does meanwhile."""

from __future__ import annotations

import itertools
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from deferred_delete import (
    DeferredDelete,
    FileStorage,
    Intake,
    Ledger,
    LedgerBusyError,
    LedgerClosedError,
    Settings,
    StorageError,
    Worker,
)
from deferred_delete.journal import journal as journal_module
from deferred_delete.journal.record import Record
from deferred_delete.ledger import power_loss
from deferred_delete.ledger.place import journal_folder
from deferred_delete.ledger.rows import Counts
from tests.unit.deferred_delete.conftest import FakeClock

Uuids = Callable[[int], list[str]]
WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Only so many records go into a segment."""
    monkeypatch.setattr(journal_module, "CAPACITY", 10)
    return 10


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Intake]]:
    """The same ledger, opened again and again."""
    ledgers: list[Ledger] = []

    def open_it() -> Intake:
        for ledger in ledgers:
            ledger.close()
        ledgers.append(Ledger(tmp_path / "ledger of this site.db", busy_timeout_ms=0))
        return Intake(ledgers[-1])

    yield open_it
    for ledger in ledgers:
        ledger.close()


def segments(intake: Intake) -> list[str]:
    return sorted(path.name for path in journal_folder(intake.ledger.path).glob("*.segment"))


def waiting(intake: Intake) -> set[str]:
    """What the ledger has, and nothing claimed."""
    claims = intake.ledger.claim(10_000_000, intake.ledger.clock.now_ms())
    intake.ledger.release([claim.pending_id for claim in claims])
    return {claim.attachment_uuid for claim in claims}


def test_a_removal_while_the_ledger_is_being_closed_is_found_by_the_next_start(
    opened: Callable[[], Intake], uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc serves requests while it stops: one comes when all had been moved, and the ledger is being synced."""
    early, late = uuids(2)
    intake = opened()
    intake.tidy()
    intake.add(early, 1)
    sync = intake.ledger.sync

    def removed_meanwhile() -> None:
        intake.add(late, 1)
        sync()

    monkeypatch.setattr(intake.ledger, "sync", removed_meanwhile)
    assert intake.close(60)
    assert waiting(opened()) == {early, late}


def test_a_segment_goes_only_when_its_rows_are_synced(
    opened: Callable[[], Intake], few: int, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread, of a restore or a route, moves more while the ledger is being synced."""
    intake = opened()
    for name in uuids(3 * few):
        intake.add(name, 1)
    intake.move()
    assert len(segments(intake)) == 3
    sync = intake.ledger.sync

    def moved_meanwhile() -> None:
        sync()
        intake.move_all()

    monkeypatch.setattr(intake.ledger, "sync", moved_meanwhile)
    intake.tidy()
    assert len([name for name in segments(intake) if int(name[:20]) < 3 * few]) == 2, "the second is not synced"
    monkeypatch.setattr(intake.ledger, "sync", sync)
    intake.tidy()
    assert len([name for name in segments(intake) if int(name[:20]) < 3 * few]) == 1


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_boot(name: str) -> None:
        monkeypatch.setattr(power_loss, "boot_id", lambda: name)

    set_boot("first")
    return set_boot


def suspects(ledger: Ledger) -> list[str]:
    return [attachment for batch in ledger.power_loss.suspects(batch=3) for attachment in batch]


@pytest.mark.parametrize("rebooted", [False, True])
def test_what_is_left_in_the_journal_is_in_doubt_if_the_machine_went_down(
    opened: Callable[[], Intake], boot: Callable[[str], None], uuids: Uuids, *, rebooted: bool
) -> None:
    """Never moved, so the ledger itself has no row of it that could be in doubt."""
    names = uuids(5)
    intake = opened()
    for name in names:
        intake.add(name, 1)
    intake.ledger.close(clean=False)
    if rebooted:
        boot("second")
    ledger = opened().ledger
    assert suspects(ledger) == (names[::-1] if rebooted else [])


@pytest.mark.parametrize("rebooted", [False, True])
def test_what_came_after_the_ledger_was_closed_is_in_doubt_if_the_machine_went_down(
    opened: Callable[[], Intake], boot: Callable[[str], None], uuids: Uuids, *, rebooted: bool
) -> None:
    """Orthanc closes its index after us. With the power cut in between it may know the attachment again."""
    names = uuids(5)
    intake = opened()
    intake.tidy()
    assert intake.close(60)
    intake.ledger.close()
    for name in names:
        intake._journal.append(name, 1, 1_700_000_000_000, 0)
    if rebooted:
        boot("second")
    ledger = opened().ledger
    assert suspects(ledger) == (names[::-1] if rebooted else [])
    boot("third")
    assert suspects(opened().ledger) == (names[::-1] if rebooted else []), "until the index was asked"


# Bursts, as of a study with many instances that is deleted at once.

LOCKS = """
import sqlite3, sys
ledger = sqlite3.connect(sys.argv[1], isolation_level=None)
ledger.execute("BEGIN IMMEDIATE")
print("locked", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def lock_ledger() -> Iterator[Callable[[Path], Callable[[], None]]]:
    """Another process locks a ledger until it is told to let go."""
    running: list[subprocess.Popen[bytes]] = []

    def lock(path: Path) -> Callable[[], None]:
        command = [sys.executable, "-c", LOCKS, str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        return lambda: process.communicate(b"\n") and None

    yield lock
    for process in running:
        if process.poll() is None:
            process.communicate(b"\n")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., DeferredDelete]]:
    """Everything that serves one storage folder, with a worker that runs."""
    services: list[DeferredDelete] = []

    def start(root: Path | None = None, **changes: object) -> DeferredDelete:
        settings = Settings(**({"grace_period": 0, "busy_timeout_ms": 1} | changes))  # type: ignore[arg-type]
        services.append(DeferredDelete(root or tmp_path / "an archive", settings, sync=False))
        services[-1].worker.start()
        return services[-1]

    yield start
    for service in services:
        service.close(60)


def rows_of(ledger: Ledger) -> set[str]:
    connection = sqlite3.connect(f"{ledger.path.as_uri()}?mode=ro", uri=True)
    found = {row[0] for row in connection.execute("SELECT attachment_uuid FROM pending")}
    connection.close()
    return found


def names(count: int) -> list[str]:
    return [f"{n % 251:02x}{n % 241:02x}{n % 65536:04x}-0000-4000-8000-{n:012x}" for n in range(count)]


def test_a_burst_while_the_worker_runs_is_moved_whole_and_counted_all_the_time(
    serve: Callable[..., DeferredDelete], wait_until: WaitUntil
) -> None:
    service = serve(grace_period=3600)
    burst = names(100_000)
    counted: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            counted.append(service.worker.status().pending)

    watcher = threading.Thread(target=watch)
    watcher.start()
    for name in burst:
        service.area.remove(name, 1)
    wait_until(lambda: service.worker.status().in_journal == 0)
    over.set()
    watcher.join()
    assert counted == sorted(counted), "what is being moved is counted twice, or not at all"
    status = service.worker.status()
    assert (status.pending, status.lost, status.last_error) == (100_000, 0, None)
    assert rows_of(service.ledger) == set(burst)


@pytest.mark.slow
def test_a_burst_while_another_process_locks_the_ledger_is_moved_when_the_lock_goes(
    serve: Callable[..., DeferredDelete],
    lock_ledger: Callable[[Path], Callable[[], None]],
    wait_until: WaitUntil,
) -> None:
    service = serve(grace_period=3600)
    burst = names(200_000)
    let_go = lock_ledger(service.ledger.path)
    for number, name in enumerate(burst):
        service.area.remove(name, 1)
        if number % 50_000 == 0:
            assert service.worker.status().pending == number + 1
    status = service.worker.status()
    assert (status.pending, status.in_journal, status.lost) == (200_000, 200_000, 0)
    wait_until(lambda: "locked" in str(service.worker.status().last_error))
    assert len(segments(service.intake)) >= 200_000 // 16_383
    let_go()
    wait_until(lambda: service.worker.status().in_journal == 0)
    assert rows_of(service.ledger) == set(burst)
    wait_until(lambda: len(segments(service.intake)) <= 3)


def test_what_is_due_goes_while_another_process_locks_the_ledger(
    serve: Callable[..., DeferredDelete],
    lock_ledger: Callable[[Path], Callable[[], None]],
    wait_until: WaitUntil,
) -> None:
    service = serve()
    removed, stubborn = names(300), names(301)[300]
    for name in removed:
        service.area.create(name, 1, b"12345")
    service.storage.path_of(stubborn).mkdir(parents=True)  # it cannot be unlinked
    let_go = lock_ledger(service.ledger.path)
    for name in [*removed[:150], stubborn, *removed[150:]]:
        service.area.remove(name, 1)
    wait_until(lambda: service.worker.status().pending == 1)
    assert not [name for name in removed if service.storage.size(name) is not None]
    assert (service.worker.status().in_journal, service.worker.status().lost) == (1, 0)
    let_go()
    wait_until(lambda: service.ledger.counts().failed == 1)
    assert rows_of(service.ledger) == {stubborn}
    service.storage.path_of(stubborn).rmdir()
    service.worker.retry()
    wait_until(lambda: service.worker.status().pending == 0)


def test_a_full_disk_under_everything_is_freed_by_what_is_due(
    serve: Callable[..., DeferredDelete], tmpfs: Callable[[int], Path], wait_until: WaitUntil
) -> None:
    """Ledger, journal and files are on it. The ledger could not even record that a file is gone."""
    disk = tmpfs(8192)
    service = serve(disk / "storage")
    service.worker.pause()
    removed = names(40)
    for name in removed:
        service.area.create(name, 1, bytes(50_000))
    wait_until(lambda: len(segments(service.intake)) == 3)
    with (disk / "filler").open("ab", buffering=0) as filler:
        while True:
            try:
                filler.write(bytes(1000))
            except OSError:
                break
    for name in removed:
        service.area.remove(name, 1)
    assert (service.worker.status().pending, service.worker.status().lost) == (40, 0)
    service.worker._control.pause(False)  # a full disk does not take "no pause" either
    service.worker.wake()
    wait_until(lambda: service.worker.status().pending == 0)
    assert not [name for name in removed if service.storage.size(name) is not None]
    assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize >= 40 * 50_000
    wait_until(lambda: service.worker.status().in_journal == 0)


@pytest.mark.parametrize("kept_from", ["pause", "restore", "schedule"])
def test_nothing_is_carried_out_by_a_worker_that_may_not_delete(
    serve: Callable[..., DeferredDelete],
    lock_ledger: Callable[[Path], Callable[[], None]],
    wait_until: WaitUntil,
    uuids: Uuids,
    kept_from: str,
) -> None:
    """Neither from the journal nor from the ledger; but what is removed reaches the ledger."""
    never = {"Monday": []}
    service = serve(schedule=never) if kept_from == "schedule" else serve()
    if kept_from == "pause":
        service.worker.pause()
    elif kept_from == "restore":
        service.worker.withhold(True)
    first, second = uuids(2)
    for name in (first, second):
        service.area.create(name, 1, b"12345")
    let_go = lock_ledger(service.ledger.path)
    service.area.remove(first, 1)
    wait_until(lambda: service.worker.status().last_error is not None)
    assert service.worker.status().in_journal == 1
    let_go()
    service.area.remove(second, 1)
    wait_until(lambda: service.worker.status().in_journal == 0)
    assert rows_of(service.ledger) == {first, second}
    assert service.storage.size(first) == service.storage.size(second) == 5
    assert service.worker.status().deleted_since_start == 0


def test_nothing_is_carried_out_before_its_time(opened: Callable[[], Intake], clock: FakeClock, uuids: Uuids) -> None:
    ledger = opened().ledger
    ledger.clock = clock  # type: ignore[assignment]
    intake = Intake(ledger, grace_ms=1000)
    first, second, third = uuids(3)
    carried_out: list[str] = []
    start_ms = clock.time_ms
    for name, at_ms in ((first, 0), (second, 500), (third, 500)):
        clock.time_ms = start_ms + at_ms
        intake.add(name, 1)
    for at_ms, expected in ((999, []), (1000, [first]), (1499, [first]), (1500, [first, second, third])):
        clock.time_ms = start_ms + at_ms
        intake.carry_out(carried_out.append, lambda: True, 10)
        assert carried_out == expected
    assert (intake.waiting, intake.counts().pending) == (0, 0)


def test_what_could_not_be_carried_out_is_recorded(opened: Callable[[], Intake], uuids: Uuids) -> None:
    intake = opened()
    attachments = uuids(10)
    for name in attachments:
        intake.add(name, 1)

    def delete(name: str) -> None:
        if name in attachments[::2]:
            raise StorageError("busy")

    assert intake.carry_out(delete, lambda: True, 100) == 5
    assert (intake.waiting, intake.counts().pending) == (5, 5)
    assert all(map(intake.waits, attachments[::2]))
    intake.move_all()
    assert (intake.waiting, intake.counts().pending) == (0, 5)
    assert waiting(intake) == set(attachments[::2])
    intake = opened()
    assert waiting(intake) == set(attachments[::2]), "what was carried out does not come back"


def test_a_ledger_that_is_locked_loses_nothing(
    opened: Callable[[], Intake], lock_ledger: Callable[[Path], Callable[[], None]], uuids: Uuids
) -> None:
    intake = opened()
    attachments = uuids(2500)
    let_go = lock_ledger(intake.ledger.path)
    for name in attachments:
        intake.add(name, 1)
    for _ in range(3):
        with pytest.raises(LedgerBusyError):
            intake.move()
    assert intake.counts().pending == intake.waiting == 2500
    let_go()
    intake.move_all()
    assert waiting(intake) == set(attachments)


def test_with_the_ledger_closed_removals_wait_for_the_next_start(opened: Callable[[], Intake], uuids: Uuids) -> None:
    intake = opened()
    attachments = uuids(30)
    intake.tidy()
    intake.ledger.close()
    for name in attachments:
        intake.add(name, 1)
    for do in (intake.move, intake.counts, intake.move_all):
        with pytest.raises(LedgerClosedError):
            do()
    assert intake.waiting == 30
    assert waiting(opened()) == set(attachments)


def test_the_worker_ends_with_the_ledger_and_removals_wait_for_the_next_start(
    serve: Callable[..., DeferredDelete], wait_until: WaitUntil, uuids: Uuids
) -> None:
    service = serve(grace_period=3600)
    attachments = uuids(30)
    service.ledger.close()
    for name in attachments:
        service.area.remove(name, 1)
    wait_until(lambda: not service.worker._running)
    assert service.intake.lost == 0
    assert rows_of(serve(grace_period=3600).ledger) == set(attachments)


def test_drain_now_includes_what_is_in_the_journal(ledger: Ledger, storage: FileStorage, uuids: Uuids) -> None:
    """The order is for all that was removed until now, and not for what comes later."""
    intake = Intake(ledger, grace_ms=3_600_000)
    worker = Worker(intake, storage, Settings(grace_period=3600))
    before, later = uuids(2)
    for name in (before, later):
        storage.create(name, b"12345")
    intake.add(before, 1)
    worker.drain_now()
    intake.add(later, 1)
    intake.move_all()
    for _ in range(4):
        worker._loop._draining.step()
    assert (storage.size(before), storage.size(later)) == (None, 5)


@pytest.mark.parametrize("limit_s", [0.0, 60.0])
def test_a_stop_moves_no_longer_than_it_may(opened: Callable[[], Intake], uuids: Uuids, limit_s: float) -> None:
    intake = opened()
    intake.tidy()
    attachments = uuids(2500)
    for name in attachments:
        intake.add(name, 1)
    assert intake.close(limit_s - 1) is (limit_s > 0)
    assert (intake.waiting == 0) is (limit_s > 0)
    assert waiting(opened()) == set(attachments)


def test_what_is_moved_and_its_segment_removed_while_it_is_counted_is_counted_once(
    opened: Callable[[], Intake], few: int, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    intake = opened()
    for name in uuids(5 * few):
        intake.add(name, 1)
    intake.move()
    counts_and_position = intake.ledger.counts_and_position

    def moved_meanwhile() -> tuple[Counts, int]:
        counted = counts_and_position()
        intake.move_all()
        intake.tidy()
        return counted

    monkeypatch.setattr(intake.ledger, "counts_and_position", moved_meanwhile)
    assert intake.counts().pending == 5 * few


def test_moving_all_ends_where_it_was_when_it_began(
    opened: Callable[[], Intake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time something is moved, as much is removed: a route that drains now, or a stop, has to end all the same."""
    intake = opened()
    intake.tidy()
    coming = iter(names(100_000))
    record = intake.ledger.record

    def record_and_remove(records: Sequence[Record], position: int) -> None:
        record(records, position)
        for name in itertools.islice(coming, 1500):
            intake.add(name, 1)

    monkeypatch.setattr(intake.ledger, "record", record_and_remove)
    first = list(itertools.islice(coming, 2500))
    for name in first:
        intake.add(name, 1)
    intake.move_all()
    assert set(first) <= waiting(intake)
    assert intake.waiting > 0
    assert intake.close(60)
    assert intake.waiting > 0
    monkeypatch.undo()
    before = next(coming)
    found = waiting(opened())
    assert found == set(itertools.takewhile(before.__ne__, names(100_000)))


def test_removals_from_eight_threads_while_it_is_moved_by_three_are_there_once(
    opened: Callable[[], Intake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker moves and tidies; a route drains now; a restore asks for all that was deleted until then."""
    monkeypatch.setattr(journal_module, "CAPACITY", 500)
    intake = opened()
    parts = [names(8000)[thread::8] for thread in range(8)]
    failures: list[BaseException] = []
    over = threading.Event()

    def safely(do: Callable[[], object]) -> Callable[[], None]:
        def target() -> None:
            try:
                do()
            except BaseException as error:  # noqa: BLE001  told below
                failures.append(error)

        return target

    def add(part: list[str]) -> None:
        for name in part:
            intake.add(name, 1)
            assert intake.waits(name)

    def move() -> None:
        while not over.is_set():
            intake.move()
            intake.tidy()

    def move_all() -> None:
        while not over.is_set():
            intake.move_all()

    adding = [threading.Thread(target=safely(lambda part=part: add(part))) for part in parts]  # type: ignore[misc]
    moving = [threading.Thread(target=safely(do)) for do in (move, move_all, move_all)]
    for thread in [*adding, *moving]:
        thread.start()
    for thread in adding:
        thread.join()
    over.set()
    for thread in moving:
        thread.join()
    assert not failures
    assert intake.close(60)
    assert intake.counts().pending == 8000
    assert waiting(intake) == set(names(8000))
    assert len(segments(intake)) <= 3


@pytest.mark.parametrize("rounds", [5])
def test_removals_during_a_stop_are_found_by_the_next_start(
    serve: Callable[..., DeferredDelete], *, rounds: int
) -> None:
    """Orthanc stops us before its HTTP server."""
    done: set[str] = set()
    for round_number in range(rounds):
        service = serve(grace_period=3600)
        started, over = threading.Event(), threading.Event()

        def remove(
            service: DeferredDelete = service,
            prefix: str = f"{round_number:04x}",
            started: threading.Event = started,
            over: threading.Event = over,
        ) -> None:
            number = 0
            while not over.is_set():
                name = f"0000{prefix}-0000-4000-8000-{number:012x}"
                service.area.remove(name, 1)
                done.add(name)
                number += 1
                if number > 500:
                    started.set()
                    time.sleep(0.0001)  # Orthanc deletes at most 20,000 a second

        remover = threading.Thread(target=remove)
        remover.start()
        started.wait()
        service.close(60 if round_number % 2 else 0)
        over.set()
        remover.join()
        assert service.intake.lost == 0
    assert rows_of(serve(grace_period=3600).ledger) == done


def test_a_delete_that_hangs_while_the_ledger_takes_nothing_keeps_nobody_else_waiting(
    opened: Callable[[], Intake], uuids: Uuids
) -> None:
    """A dead disk: routes, a restore and the stop of Orthanc go on without the worker."""
    intake = opened()
    names = uuids(3)
    for name in names:
        intake.add(name, 1)
    hangs, goes_on = threading.Event(), threading.Event()

    def delete(name: str) -> None:
        hangs.set()
        assert goes_on.wait(60)
        if name == names[0]:
            raise StorageError("cannot unlink: Input/output error; expected a disk")

    worker = threading.Thread(target=intake.carry_out, args=(delete, lambda: True, 10))
    worker.start()
    assert hangs.wait(60)
    closing = threading.Thread(target=intake.close, args=(60,), daemon=True)
    closing.start()
    closing.join(30)
    ended = not closing.is_alive()
    goes_on.set()
    worker.join(60)
    closing.join(60)
    assert ended, "the stop waited for the disk"
    assert waiting(intake) == set(names), "each is a row, what failed only once"
    assert intake.counts() == (3, 0, 0)


def test_carrying_out_ends_after_the_file_in_hand_when_it_may_not_go_on(
    opened: Callable[[], Intake], uuids: Uuids
) -> None:
    """An operator's pause, or a restore that looks for its files."""
    intake = opened()
    names = uuids(5)
    for name in names:
        intake.add(name, 1)
    deleted: list[str] = []
    assert intake.carry_out(deleted.append, lambda: len(deleted) < 2, 10) == 2
    assert deleted == names[:2]
    assert intake.counts().pending == 3
