"""The hot statements use their indexes: the same work with ten million rows as with ten."""

import sqlite3
from pathlib import Path

import pytest

from deferred_delete import Ledger
from deferred_delete.ledger import queries, restore_queries, study_queries


@pytest.mark.parametrize(
    ("statement", "parameters", "expected"),
    [
        (queries.CLAIM, 2, ["SEARCH pending USING INTEGER PRIMARY KEY", "INDEX pending_due (next_attempt_at<?)"]),
        # By pending_id, in the table or (SQLite 3.46) in the index of claims: one step a row in either.
        (queries.COMPLETE, 1, ["SEARCH pending USING"]),
        (queries.FAIL, 1, ["SEARCH pending USING"]),
        (queries.RELEASE, 1, ["SEARCH pending USING"]),
        (queries.ENQUEUE, 1, ["SCAN json_each"]),
        (queries.RECOVER, 0, ["INDEX pending_claimed"]),
        (queries.HASTEN, 2, ["SEARCH pending USING INTEGER PRIMARY KEY", "INDEX pending_due (next_attempt_at>?)"]),
        (queries.WITHDRAW, 1, ["SEARCH pending USING INDEX sqlite_autoindex_pending_1 (attachment_uuid=?)"]),
        (queries.NEXT_DUE, 0, ["SCAN pending USING INDEX pending_due"]),  # its first entry only: LIMIT 1
        (queries.OLDEST, 0, ["SCAN pending"]),  # the first row only: LIMIT 1
        (queries.NEWEST_ENQUEUED_AT, 0, ["SCAN pending"]),  # the last row only
        (queries.NEWEST_PENDING_ID, 0, ["SEARCH pending"]),  # max() of the primary key: one step
        (queries.NEWEST_FIRST, 2, ["SEARCH pending USING INTEGER PRIMARY KEY (rowid<?)"]),
        (queries.LIST, 2, ["SEARCH pending USING INTEGER PRIMARY KEY (rowid>?)"]),
        (queries.LIST_FAILED, 2, ["INDEX pending_failed"]),
        (queries.COUNTS, 0, ["SCAN counts"]),  # one row
        (queries.COUNTS_AND_POSITION, 0, ["SCAN counts"]),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else None,
)
def test_plan(ledger: Ledger, statement: str, parameters: int, expected: list[str]) -> None:
    with_rows = [(f"{number:08x}-0000-4000-8000-000000000000", 1) for number in range(2000)]
    ledger.enqueue_many(with_rows)
    connection = sqlite3.connect(ledger.path)
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", [1] * parameters)]
    connection.close()
    for part in expected:
        assert any(part in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
    if not statement.endswith("LIMIT 1"):
        assert not any(step == "SCAN pending" for step in plan), plan


@pytest.mark.parametrize("rows", [100, 20_000])
def test_a_claim_runs_as_many_steps_with_many_rows_as_with_few(tmp_path: Path, rows: int) -> None:
    """Counted in SQLite's own instructions, not in time."""
    with Ledger(tmp_path / "l.db") as ledger:
        for start in range(0, rows, 1000):
            ledger.enqueue_many(
                (f"{number:08x}-0000-4000-8000-000000000000", 1) for number in range(start, min(rows, start + 1000))
            )
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return 0

        ledger._database._writer.set_progress_handler(count, 1)
        claims = ledger.claim(50, ledger.clock.now_ms())
        ledger.complete([claim.pending_id for claim in claims])
        assert len(claims) == 50
        assert steps < 20_000


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (study_queries.TAKE_OFF, "INDEX resource_deletion_instances_of (instance_id=?"),
        (study_queries.SLICE, "USING PRIMARY KEY (deletion_id=? AND attempts>?)"),
        (restore_queries.TO_IMPORT, "USING INDEX held_of_restore (restore_id=? AND outcome=?)"),
    ],
    ids=["TAKE_OFF", "SLICE", "TO_IMPORT"],
)
def test_plans_of_what_is_asked_for_each_instance(ledger: Ledger, statement: str, expected: str) -> None:
    connection = sqlite3.connect(ledger.path)
    parameters = [1] * statement.count("?")
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    connection.close()
    assert any(expected in step for step in plan), plan
    assert not any("TEMP B-TREE" in step for step in plan), plan
