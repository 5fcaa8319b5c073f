"""Taking over the C++ DelayedDeletion plugin's database."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import DeferredDelete, Ledger, LedgerError, Settings, TakeoverError
from deferred_delete.takeover import find, take_over

Uuids = Callable[[int], list[str]]


@pytest.fixture
def theirs(tmp_path: Path) -> Callable[[list[tuple[object, object]]], Path]:
    """Makes a database as the plugin does."""

    def make(rows: list[tuple[object, object]]) -> Path:
        path = tmp_path / "pending-deletions.abc.db"
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE Pending(uuid TEXT, type INTEGER)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO Pending VALUES (?, ?)", rows)
        connection.execute("COMMIT")
        connection.close()
        return path

    return make


def _left(path: Path) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    connection.text_factory = bytes
    rows = connection.execute("SELECT uuid, type FROM Pending").fetchall()
    connection.close()
    return rows


def test_every_row_is_recorded_and_the_file_renamed(ledger: Ledger, theirs, uuids: Uuids, tmp_path: Path) -> None:
    attachments = uuids(2500)  # more than two batches
    path = theirs([(attachment, number % 4) for number, attachment in enumerate(attachments)])
    assert find(tmp_path) == [path]
    result = take_over(path, ledger, grace_ms=0)
    assert (result.recorded, result.known, result.malformed) == (2500, 0, 0)
    claims = ledger.claim(3000, ledger.clock.now_ms())
    assert [(claim.attachment_uuid, claim.content_type) for claim in claims] == [
        (attachment, number % 4) for number, attachment in enumerate(attachments)
    ]
    assert result.kept_as == tmp_path / "pending-deletions.abc.db.taken-over"
    assert len(_left(result.kept_as)) == 2500
    assert find(tmp_path) == []
    assert not list(tmp_path.glob("pending-deletions.abc.db-*"))


def test_rows_that_are_no_deletion_are_counted_said_and_left(
    ledger: Ledger, theirs, uuids: Uuids, caplog: pytest.LogCaptureFixture
) -> None:
    (good,) = uuids(1)
    bad: list[tuple[object, object]] = [
        (None, 1),  # no uuid
        ("", 1),
        ("../../../../etc/passwd", 1),  # would leave the root
        (good + "\n", 1),
        (5, 1),  # becomes text "5" by the column's affinity
        (b"\xff" * 36, 1),  # not text
        (good[:-1] + "0", None),  # no type
        (good[:-1] + "1", "DICOM"),  # a type that is no number
    ]
    result = take_over(theirs([*bad, (good, 3)]), ledger)
    assert (result.recorded, result.malformed) == (1, len(bad))
    assert caplog.text.count("is no deletion, left there") == len(bad)
    assert len(_left(result.kept_as)) == len(bad) + 1


def test_text_that_is_no_utf_8_is_a_malformed_row(ledger: Ledger, theirs) -> None:
    path = theirs([])
    connection = sqlite3.connect(path)
    connection.execute("INSERT INTO Pending VALUES (CAST(x'FFFEFD' AS TEXT), 1)")
    connection.commit()
    connection.close()
    assert take_over(path, ledger).malformed == 1


def test_a_crash_in_the_middle_is_taken_up_again(ledger: Ledger, theirs, uuids: Uuids, monkeypatch) -> None:
    attachments = uuids(2500)
    path = theirs([(attachment, 1) for attachment in attachments])
    real = ledger.enqueue_many
    calls = 0

    def dies(rows, grace_ms: int = 0) -> int:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise LedgerError("database or disk is full")
        return real(rows, grace_ms)

    monkeypatch.setattr(ledger, "enqueue_many", dies)
    with pytest.raises(LedgerError, match="full"):
        take_over(path, ledger)
    assert path.exists(), "not renamed before all is recorded"
    # The worker got on with the first batch meanwhile: those come again, find no file, and are done.
    ledger.complete([claim.pending_id for claim in ledger.claim(100, ledger.clock.now_ms())])
    monkeypatch.setattr(ledger, "enqueue_many", real)
    result = take_over(path, ledger)
    assert (result.recorded, result.known) == (1600, 900)
    assert ledger.counts().total == 2500


def test_a_kill_in_the_middle_is_taken_up_again(theirs, uuids: Uuids, tmp_path: Path, repository: Path) -> None:
    path = theirs([(attachment, 1) for attachment in uuids(3000)])
    script = """
import os, sys
from pathlib import Path
from deferred_delete import Ledger
from deferred_delete.takeover import take_over
ledger = Ledger(Path(sys.argv[2]))
real = ledger.enqueue_many
def enqueue_many(rows, grace_ms=0):
    if ledger.counts().total >= 2000:
        os.kill(os.getpid(), 9)
    return real(rows, grace_ms)
ledger.enqueue_many = enqueue_many
take_over(Path(sys.argv[1]), ledger)
"""
    command = [sys.executable, "-c", script, str(path), str(tmp_path / "l.db")]
    assert subprocess.run(command, check=False, cwd=repository).returncode == -9
    assert path.exists()
    with Ledger(tmp_path / "l.db") as ledger:
        assert ledger.counts().total == 2000
        result = take_over(path, ledger)
        assert (result.recorded, result.known) == (1000, 2000)
        assert len(_left(result.kept_as)) == 3000


def test_rows_still_in_the_plugins_log_are_taken_over_too(ledger: Ledger, tmp_path: Path, uuids: Uuids) -> None:
    """The plugin was killed: its rows are in the -wal file."""
    path = tmp_path / "pending-deletions.x.db"
    script = """
import os, sqlite3, sys
c = sqlite3.connect(sys.argv[1], isolation_level=None)
c.execute("PRAGMA journal_mode = WAL"); c.execute("PRAGMA locking_mode = EXCLUSIVE")
c.execute("CREATE TABLE Pending(uuid TEXT, type INTEGER)")
for uuid in sys.argv[2:]:
    c.execute("INSERT INTO Pending VALUES (?, 1)", (uuid,))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", script, str(path), *uuids(20)], check=False)
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    assert take_over(path, ledger).recorded == 20
    assert sorted(each.name for each in tmp_path.glob("pending*")) == ["pending-deletions.x.db.taken-over"]


def test_a_database_in_use_is_refused_and_left(ledger: Ledger, theirs, uuids: Uuids) -> None:
    path = theirs([(uuids(1)[0], 1)])
    plugin = sqlite3.connect(path, isolation_level=None)
    plugin.execute("PRAGMA locking_mode = EXCLUSIVE")
    plugin.execute("BEGIN IMMEDIATE")
    with pytest.raises(TakeoverError, match="database is locked; expected the DelayedDeletion plugin's, not in use"):
        take_over(path, ledger)
    plugin.close()
    assert path.exists()
    assert ledger.counts().total == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "there is no"),
        (b"", "no such table"),
        (b"notes\n" * 1000, "file is not a database"),
    ],
)
def test_what_is_no_such_database_is_refused_and_left(
    ledger: Ledger, tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "pending-deletions.x.db"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(TakeoverError, match=words):
        take_over(path, ledger)
    assert (path.read_bytes() if path.exists() else None) == content


def test_an_earlier_takeover_is_not_overwritten(ledger: Ledger, theirs, uuids: Uuids) -> None:
    first = take_over(theirs([(uuids(1)[0], 1)]), ledger).kept_as
    second = take_over(theirs([(uuids(1)[0], 1)]), ledger).kept_as
    third = take_over(theirs([]), ledger).kept_as
    assert [path.name[len("pending-deletions.abc.db") :] for path in (first, second, third)] == [
        ".taken-over",
        ".taken-over.1",
        ".taken-over.2",
    ]
    assert ledger.counts().total == 2


def test_the_service_finds_them_by_itself_or_where_it_is_told(tmp_path: Path, theirs, uuids: Uuids) -> None:
    here, elsewhere = uuids(2)
    service = DeferredDelete(tmp_path, Settings(), sync=False)
    theirs([(here, 1)])
    assert [result.recorded for result in service.take_over()] == [1]
    assert service.take_over() == []
    moved = theirs([(elsewhere, 1)]).rename(tmp_path / "their.db")
    assert [result.recorded for result in service.take_over(moved)] == [1]
    assert service.take_over(moved) == []
    assert (service.ledger.next_due() or 0) > service.ledger.clock.now_ms(), "they get the grace period"
    service.close()


def test_the_ledger_is_on_disk_before_the_file_gets_another_name(ledger: Ledger, theirs, uuids, monkeypatch) -> None:
    path = theirs([(uuids(1)[0], 1)])
    seen: list[bool] = []
    real = ledger.sync

    def sync() -> None:
        real()
        seen.append(path.exists())

    monkeypatch.setattr(ledger, "sync", sync)
    take_over(path, ledger)
    assert seen == [True]
