"""Ledger: rows, their states, and what the file survives."""

import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import Ledger, LedgerBusyError, LedgerClosedError, LedgerError, LedgerRefusedError, StateError
from deferred_delete.journal.record import Record
from deferred_delete.ledger.rows import Counts, Failure
from tests.support.ledgers import enqueue

Uuids = Callable[[int], list[str]]


def _rows(path: Path) -> list[tuple[object, ...]]:
    """What another process sees."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(
            "SELECT attachment_uuid, content_type, state, attempts, last_error FROM pending ORDER BY pending_id"
        ).fetchall()
    finally:
        connection.close()


def test_an_enqueued_deletion_is_seen_by_others_at_once(ledger: Ledger, uuids: Uuids) -> None:
    first, second = uuids(2)
    enqueue(ledger, first, 1)
    enqueue(ledger, second, 3)
    assert _rows(ledger.path) == [(first, 1, "pending", 0, None), (second, 3, "pending", 0, None)]


def test_asking_twice_for_one_attachment_changes_nothing(ledger: Ledger, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    (attachment,) = uuids(1)
    enqueue(ledger, attachment, 1)
    clock.time_ms += 1000
    enqueue(ledger, attachment, 1)
    assert ledger.counts() == (1, 0, 0)
    assert ledger.oldest() == clock.time_ms - 1000
    (claim,) = ledger.claim(10, clock.time_ms)
    enqueue(ledger, attachment, 1)  # also while it is claimed
    assert ledger.counts() == (0, 1, 0)
    assert claim.attachment_uuid == attachment


def test_nothing_is_claimed_before_its_grace_period_is_over(ledger: Ledger, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    due_ms = enqueue(ledger, uuids(1)[0], 1, grace_ms=60_000)
    assert due_ms == clock.time_ms + 60_000 == ledger.next_due()
    assert ledger.claim(10, due_ms - 1) == []
    assert len(ledger.claim(10, due_ms)) == 1


def test_the_longest_due_are_claimed_first(ledger: Ledger, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    late, early, middle, early_too = uuids(4)
    for attachment, grace_ms in ((late, 30), (early, 10), (middle, 20), (early_too, 10)):
        enqueue(ledger, attachment, 1, grace_ms)
    now_ms = clock.time_ms + 30
    assert [claim.attachment_uuid for claim in ledger.claim(3, now_ms)] == [early, early_too, middle]
    assert [claim.attachment_uuid for claim in ledger.claim(3, now_ms)] == [late]
    assert ledger.claim(3, now_ms) == []


def test_a_row_goes_from_pending_over_claimed_and_failed_to_gone(ledger: Ledger, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    (attachment,) = uuids(1)
    enqueue(ledger, attachment, 1)
    (claim,) = ledger.claim(1, clock.time_ms)
    assert ledger.counts() == (0, 1, 0)
    ledger.fail(claim.pending_id, "Device or resource busy", clock.time_ms + 500)
    assert _rows(ledger.path) == [(attachment, 1, "failed", 1, "Device or resource busy")]
    assert ledger.counts() == (0, 0, 1)
    assert ledger.claim(1, clock.time_ms + 499) == []
    (again,) = ledger.claim(1, clock.time_ms + 500)
    assert again.attempts == 1
    ledger.release([again.pending_id])
    assert ledger.counts() == (0, 0, 1), "a row that failed before is a failed row again"
    (again,) = ledger.claim(1, clock.time_ms + 500)
    ledger.complete([again.pending_id])
    assert ledger.counts().total == 0
    assert ledger.next_due() is ledger.oldest() is None


@pytest.mark.parametrize(
    "transition",
    [
        lambda ledger, pending_id: ledger.complete([pending_id]),
        lambda ledger, pending_id: ledger.release([pending_id]),
        lambda ledger, pending_id: ledger.fail(pending_id, "why", 0),
    ],
    ids=["complete", "release", "fail"],
)
def test_only_a_claimed_row_can_be_settled(ledger: Ledger, uuids: Uuids, transition) -> None:
    enqueue(ledger, uuids(1)[0], 1)
    with pytest.raises(StateError, match=r"one of 1 rows in .* was not claimed"):
        transition(ledger, 1)
    (claim,) = ledger.claim(1, ledger.clock.now_ms())
    transition(ledger, claim.pending_id)
    with pytest.raises(StateError):
        transition(ledger, claim.pending_id)


@pytest.mark.parametrize(
    "settle",
    [
        lambda ledger, numbers: ledger.complete(numbers),
        lambda ledger, numbers: ledger.release(numbers),
        lambda ledger, numbers: ledger.settle(failed=[Failure(number, "why", 0) for number in numbers]),
    ],
    ids=["complete", "release", "fail"],
)
def test_one_row_that_is_not_claimed_saves_all_the_others(ledger: Ledger, uuids: Uuids, settle) -> None:
    ledger.enqueue_many([(attachment, 1) for attachment in uuids(3)])
    one, two = ledger.claim(2, ledger.clock.now_ms())
    for wrong in (999, 3):  # no such row, and one that is only pending
        with pytest.raises(StateError, match=r"one of 3 rows in .* was not claimed"):
            settle(ledger, [one.pending_id, wrong, two.pending_id])
        assert ledger.counts() == (1, 2, 0)
    settle(ledger, [one.pending_id, two.pending_id])
    assert ledger.counts().claimed == 0


def test_an_error_with_quotes_and_newlines_is_kept_as_it_is(ledger: Ledger, uuids: Uuids) -> None:
    enqueue(ledger, uuids(1)[0], 1)
    (claim,) = ledger.claim(1, ledger.clock.now_ms())
    ledger.fail(claim.pending_id, 'it\'s "bad"\n\u00e9', 0)
    assert _rows(ledger.path)[0][4] == 'it\'s "bad"\n\u00e9'


def test_a_completed_rows_number_is_never_given_out_again(ledger: Ledger, uuids: Uuids) -> None:
    first, second = uuids(2)
    enqueue(ledger, first, 1)
    (stale,) = ledger.claim(1, ledger.clock.now_ms())
    ledger.complete([stale.pending_id])
    enqueue(ledger, second, 1)
    (fresh,) = ledger.claim(1, ledger.clock.now_ms())
    assert fresh.pending_id != stale.pending_id
    with pytest.raises(StateError):
        ledger.complete([stale.pending_id])
    assert ledger.counts() == (0, 1, 0)


def test_claims_of_a_process_that_died_are_recovered_at_open(ledger: Ledger, uuids: Uuids, tmp_path: Path) -> None:
    ledger.enqueue_many([(attachment, 1) for attachment in uuids(10)])
    failed, *_ = ledger.claim(4, ledger.clock.now_ms())
    ledger.fail(failed.pending_id, "why", 0)
    ledger.claim(1, ledger.clock.now_ms())
    for suffix in ("", "-wal"):  # what a SIGKILL leaves behind
        shutil.copy(f"{ledger.path}{suffix}", f"{tmp_path / 'copy.db'}{suffix}")
    with Ledger(tmp_path / "copy.db") as copy:
        assert copy.recovered == 4
        assert copy.counts() == (9, 0, 1)


def test_rows_survive_close_and_open(tmp_path: Path, uuids: Uuids) -> None:
    with Ledger(tmp_path / "l.db") as ledger:
        ledger.enqueue_many([(attachment, 1) for attachment in uuids(5)])
    assert not (tmp_path / "l.db-wal").exists(), "closing copies the log back"
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.counts() == (5, 0, 0)
        enqueue(ledger, uuids(1)[0], 1)
        assert ledger.counts() == (6, 0, 0)


def test_the_pause_survives_a_restart(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.paused is False
        ledger.paused = True
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.paused is True


def test_hasten_makes_everything_due_in_slices(ledger: Ledger, uuids: Uuids, clock) -> None:
    ledger.clock = clock
    ledger.enqueue_many([(attachment, 1) for attachment in uuids(25)], grace_ms=60_000)
    assert [ledger.hasten(clock.time_ms, limit=10) for _ in range(4)] == [10, 10, 5, 0]
    assert len(ledger.claim(100, clock.time_ms)) == 25


def test_withdraw_forgets_all_but_what_is_in_hand(ledger: Ledger, uuids: Uuids) -> None:
    one, two, three = uuids(3)
    enqueue(ledger, one, 1)
    ledger.claim(1, ledger.clock.now_ms())
    enqueue(ledger, two, 1)
    assert ledger.withdraw([one, two, three]) == 1
    assert ledger.counts() == (0, 1, 0)


def test_counts_are_exact_whatever_else_writes(ledger: Ledger, uuids: Uuids) -> None:
    ledger.enqueue_many([(attachment, 1) for attachment in uuids(10)])
    other = sqlite3.connect(ledger.path)
    other.execute("DELETE FROM pending WHERE pending_id <= 3")
    other.execute("UPDATE pending SET state = 'failed' WHERE pending_id = 4")
    other.commit()
    other.close()
    assert ledger.counts() == (6, 0, 1)


def test_rows_of_another_writer_do_not_swallow_ours(ledger: Ledger, uuids: Uuids) -> None:
    foreign, ours, later = uuids(3)
    other = sqlite3.connect(ledger.path)
    other.execute("INSERT INTO pending VALUES (1, ?, 1, 0, 'pending', 0, 0, NULL)", (foreign,))
    other.commit()
    other.close()
    with pytest.raises(LedgerError, match=r"UNIQUE constraint failed: pending\.pending_id"):
        enqueue(ledger, ours, 1)  # an error the storage area answers by unlinking: never a silent success
    enqueue(ledger, later, 1)
    assert {row[0] for row in _rows(ledger.path)} == {foreign, later}


def test_a_clock_set_back_between_runs_stalls_nothing(tmp_path: Path, uuids: Uuids, caplog) -> None:
    with Ledger(tmp_path / "l.db", wall=lambda: 4_000_000_000.0) as ledger:  # the year 2096
        enqueue(ledger, uuids(1)[0], 1, grace_ms=60_000)
    with Ledger(tmp_path / "l.db", wall=lambda: 1_700_000_000.0) as ledger:
        assert "the clock is" in caplog.text
        assert ledger.next_due() - ledger.clock.now_ms() <= 60_000
        enqueue(ledger, uuids(1)[0], 1, grace_ms=0)
        assert len(ledger.claim(10, ledger.clock.now_ms() + 60_000)) == 2
    with Ledger(tmp_path / "l.db", wall=lambda: 1_700_000_000.0) as ledger:
        assert ledger.recovered == 2


def test_an_empty_ledger_believes_the_clock_again(tmp_path: Path, uuids: Uuids) -> None:
    with Ledger(tmp_path / "l.db", wall=lambda: 4_000_000_000.0) as ledger:
        enqueue(ledger, uuids(1)[0], 1)
        ledger.complete([ledger.claim(1, ledger.clock.now_ms())[0].pending_id])
    with Ledger(tmp_path / "l.db", wall=lambda: 1_700_000_000.0) as ledger:
        assert ledger.clock.now_ms() < 1_700_001_000_000


def test_enqueues_from_many_threads_are_all_recorded_while_rows_are_drained(ledger: Ledger, uuids: Uuids) -> None:
    attachments = uuids(4000)
    drained: list[str] = []
    errors: list[BaseException] = []

    def record(part: list[str]) -> None:
        try:
            for attachment in part:
                enqueue(ledger, attachment, 1)
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=record, args=(attachments[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) or ledger.counts().total:
        claims = ledger.claim(50, ledger.clock.now_ms())
        ledger.complete([claim.pending_id for claim in claims])
        drained += [claim.attachment_uuid for claim in claims]
    assert errors == []
    assert sorted(drained) == sorted(attachments)


def test_what_is_in_the_journal_is_recorded_with_its_own_time_and_how_far_it_was_read(
    tmp_path: Path, uuids: Uuids
) -> None:
    first, second = uuids(2)
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.journal_position == 0
        ledger.record([Record(3, first, 1, 1000, 500), Record(4, second, 3, 2000, 500)], 5)
        ledger.record([Record(4, second, 3, 2000, 500)], 5)  # as after a crash
        assert [(each.attachment_uuid, each.next_attempt_at) for each in ledger.claim(9, 10**12)] == [
            (first, 1500),
            (second, 2500),
        ]
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.journal_position == 5


def test_records_and_position_are_written_both_or_neither(ledger: Ledger, uuids: Uuids) -> None:
    """A type that SQLite's column does not take stands for whatever goes wrong half way."""
    with pytest.raises(LedgerError, match="cannot record deletions"):
        ledger.record([Record(7, uuids(1)[0], None, 1000, 0)], 8)  # type: ignore[arg-type]
    assert (ledger.counts().total, ledger.journal_position) == (0, 0)
    ledger.record([Record(7, uuids(1)[0], 1, 1000, 0)], 8)
    assert (ledger.counts().total, ledger.journal_position) == (1, 8)


def test_the_identity_stays(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.db") as ledger:
        identity = ledger.identity
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.identity == identity
    with Ledger(tmp_path / "other.db") as other:
        assert other.identity != identity
    assert len(identity) == 16


def test_the_log_is_copied_back_by_itself(ledger: Ledger, uuids: Uuids) -> None:
    log = ledger.path.with_name(ledger.path.name + "-wal")
    largest = 0
    for attachment in uuids(6000):
        enqueue(ledger, attachment, 1)
        largest = max(largest, log.stat().st_size)
    assert largest < 10_000_000, "the log grew on and on"
    assert ledger.counts() == (6000, 0, 0)


def test_a_reader_that_stays_does_not_stop_enqueues(ledger: Ledger, uuids: Uuids) -> None:
    other = sqlite3.connect(ledger.path, isolation_level=None)
    other.execute("BEGIN")
    other.execute("SELECT * FROM pending").fetchall()
    for attachment in uuids(1000):
        enqueue(ledger, attachment, 1)
    ledger.sync()
    assert ledger.counts() == (1000, 0, 0)
    other.execute("COMMIT")
    other.close()


def test_a_ledger_locked_by_another_process_is_busy_and_then_well(ledger: Ledger, uuids: Uuids) -> None:
    first, second = uuids(2)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); c.execute('BEGIN IMMEDIATE');"
            "print('held', flush=True); sys.stdin.read()",
            str(ledger.path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(LedgerBusyError, match="database is locked"):
        enqueue(ledger, first, 1)
    with pytest.raises(LedgerBusyError):
        ledger.claim(1, ledger.clock.now_ms())
    assert ledger.counts().total == 0, "looking works all the same"
    holder.communicate()
    enqueue(ledger, second, 1)
    assert ledger.counts().total == 1


def test_a_full_disk_is_an_error_and_the_ledger_goes_on_when_there_is_room(tmpfs, uuids: Uuids) -> None:
    disk = tmpfs(1024)
    ledger = Ledger(disk / "ledger.db")
    recorded: list[str] = []
    (disk / "ballast").write_bytes(b"x" * 300_000)

    def enqueue_until_full() -> None:
        for attachment in uuids(5000):
            enqueue(ledger, attachment, 1)
            recorded.append(attachment)

    with pytest.raises(LedgerError, match=r"cannot record deletions in the ledger .*(full|disk I/O)"):
        enqueue_until_full()
    assert recorded
    (disk / "ballast").unlink()
    (late,) = uuids(1)
    enqueue(ledger, late, 1)
    assert [row[0] for row in _rows(ledger.path)] == [*recorded, late]
    assert ledger.counts() == (len(recorded) + 1, 0, 0)
    ledger.close()
    with Ledger(disk / "ledger.db") as again:
        assert again.counts() == (len(recorded) + 1, 0, 0)


def test_a_settlement_on_a_full_disk_changes_nothing(tmpfs, uuids: Uuids) -> None:
    disk = tmpfs(1024)
    with Ledger(disk / "ledger.db") as ledger:
        ledger.enqueue_many([(attachment, 1) for attachment in uuids(500)])
        claims = ledger.claim(500, ledger.clock.now_ms())
        ledger._database._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # no room left in the log either
        room = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(b"x" * (room - 8192))
        with pytest.raises(LedgerError):
            ledger.complete([claim.pending_id for claim in claims])
        assert ledger.counts() == (0, 500, 0)
        (disk / "ballast").unlink()
        ledger.complete([claim.pending_id for claim in claims])
        assert ledger.counts() == (0, 0, 0)


def test_a_read_only_folder_is_refused_in_one_line(tmpfs, remount) -> None:
    disk = tmpfs(1024)
    Ledger(disk / "ledger.db").close()
    remount(disk, "ro")
    with pytest.raises(LedgerError, match="Read-only file system; expected a folder Orthanc may write") as error:
        Ledger(disk / "ledger.db")
    assert "\n" not in str(error.value)


def test_a_missing_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="No such file or directory"):
        Ledger(tmp_path / "nowhere" / "ledger.db")


def test_after_close_everything_is_refused_and_close_is_harmless(ledger: Ledger, uuids: Uuids) -> None:
    ledger.close()
    ledger.close()
    for use in (
        lambda: enqueue(ledger, uuids(1)[0], 1),
        lambda: ledger.claim(1, 0),
        ledger.counts,
        ledger.recover,
        ledger.sync,
    ):
        with pytest.raises(LedgerClosedError, match="is closed"):
            use()


def test_only_one_owner_in_this_process_and_in_others(ledger: Ledger) -> None:
    with pytest.raises(LedgerRefusedError, match=r"in use by process \d+: expected one Orthanc for each ledger"):
        Ledger(ledger.path)
    script = "import sys; from pathlib import Path; from deferred_delete import Ledger; Ledger(Path(sys.argv[1]))"
    other = subprocess.run(
        [sys.executable, "-c", script, str(ledger.path)], capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[3],
    )  # fmt: skip
    assert other.returncode == 1
    assert "in use by process" in other.stderr
    enqueue(ledger, "0a1b2c3d-4e5f-6789-abcd-ef0123456789", 1)  # the refused ones let go of nothing


def test_the_lock_of_a_process_that_died_is_not_stale(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from deferred_delete import Ledger; l = Ledger(Path(sys.argv[1]));"
        "os.kill(os.getpid(), 9)"
    )
    path = tmp_path / "ledger.db"
    died = subprocess.run([sys.executable, "-c", script, str(path)], check=False, cwd=Path(__file__).parents[3])
    assert died.returncode == -9
    assert path.with_name("ledger.db.lock").exists()
    Ledger(path).close()


def test_counts_add_up() -> None:
    assert Counts(1, 2, 3).total == 6


def test_time_goes_on(ledger: Ledger) -> None:
    before = ledger.clock.now_ms()
    assert abs(before - time.time() * 1000) < 60_000
    assert ledger.clock.now_ms() >= before
