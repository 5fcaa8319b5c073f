"""A file that is no sound ledger of this version is refused in one line and left as it was."""

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import Ledger, LedgerRefusedError
from deferred_delete.ledger import schema


def _sound(path: Path, rows: int = 500) -> None:
    with Ledger(path) as ledger:
        ledger.enqueue_many([(f"{number:08x}-0000-4000-8000-000000000000", 1) for number in range(rows)])


def _text(path: Path) -> None:
    path.write_text("these are my notes\n" * 100)


def _empty(path: Path) -> None:
    path.touch()


def _short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0")


def _other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE Pending(uuid TEXT, type INTEGER)")
    connection.commit()
    connection.close()


def _future(path: Path) -> None:
    _sound(path)
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.SCHEMA_VERSION + 1}")
    connection.close()


def _without_a_table(path: Path) -> None:
    _sound(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TABLE facts")
    connection.close()


def _overwritten(first: int, last: int) -> Callable[[Path], None]:
    def overwrite(path: Path) -> None:
        _sound(path)
        with path.open("r+b") as file:
            for page in range(first, last):
                file.seek(page * 1024)
                file.write(b"\xff" * 1024)

    return overwrite


def _truncated(path: Path) -> None:
    _sound(path)
    with path.open("r+b") as file:
        file.truncate(20 * 1024)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_text, "is not a SQLite database"),
        (_empty, "is an empty file"),  # a crash of ours never leaves one
        (_short, "is not a SQLite database"),
        (_other_program, "is another program's database"),
        (_future, "schema version 4: expected 1 to 3; a newer version"),
        (_without_a_table, "has no proper table facts"),
        (_overwritten(0, 1), "is not a SQLite database"),  # the header
        (_overwritten(1, 8), "damaged|corrupt"),  # roots of the tables
        (_overwritten(20, 60), "damaged|corrupt"),  # leaves in the middle
        (_truncated, "damaged|corrupt"),
    ],
)
def test_what_is_no_sound_ledger_is_refused_and_untouched(
    tmp_path: Path, spoil: Callable[[Path], None], words: str
) -> None:
    path = tmp_path / "ledger.db"
    spoil(path)
    before = path.read_bytes()
    for _ in range(2):  # a refusal lets go of the lock
        with pytest.raises(LedgerRefusedError, match=words) as refusal:
            Ledger(path)
        assert "\n" not in str(refusal.value)
        assert str(path) in str(refusal.value)
    assert path.read_bytes() == before


def test_a_folder_in_the_ledgers_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").mkdir()
    with pytest.raises(schema.LedgerError, match="Is a directory"):
        Ledger(tmp_path / "ledger.db")


def test_a_draft_left_by_a_crash_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "ledger.db.new").write_bytes(b"half a ledger")
    with Ledger(tmp_path / "ledger.db") as ledger:
        assert ledger.counts().total == 0
    assert not (tmp_path / "ledger.db.new").exists()


def test_an_older_ledger_is_migrated_and_a_failed_migration_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger.db"
    _sound(path)

    def adds_a_table(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE news (text TEXT)")

    def fails(connection: sqlite3.Connection) -> None:
        adds_a_table(connection)
        connection.execute("SELECT nonsense")

    present = schema.MIGRATIONS
    next_version = schema.SCHEMA_VERSION + 1
    monkeypatch.setattr(schema, "SCHEMA_VERSION", next_version)
    monkeypatch.setattr(schema, "MIGRATIONS", (*present, fails))
    with pytest.raises(LedgerRefusedError, match="nonsense"):
        Ledger(path)
    monkeypatch.setattr(schema, "MIGRATIONS", (*present, adds_a_table))
    with Ledger(path) as ledger:
        assert ledger.counts().total == 500
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (next_version,)
        assert connection.execute("SELECT count(*) FROM news").fetchone() == (0,)
    connection.close()


def test_a_ledger_made_now_carries_its_marks(tmp_path: Path) -> None:
    _sound(tmp_path / "ledger.db")
    connection = sqlite3.connect(tmp_path / "ledger.db")
    assert connection.execute("PRAGMA application_id").fetchone() == (schema.APPLICATION_ID,)
    assert connection.execute("PRAGMA user_version").fetchone() == (schema.SCHEMA_VERSION,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA page_size").fetchone() == (1024,)
    connection.close()
