"""The ledger against a model: whatever the order of calls, nothing is forgotten, invented or counted wrongly."""

import shutil
import sqlite3
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deferred_delete import Ledger, StateError
from deferred_delete.ledger.rows import Failure
from tests.support.ledgers import enqueue


class Row:
    def __init__(self, enqueued_at: int, due: int) -> None:
        self.enqueued_at, self.due, self.state, self.attempts = enqueued_at, due, "pending", 0

    def waiting_state(self) -> str:
        return "failed" if self.attempts else "pending"


class Clock:
    set_back_by_ms = 0
    time_ms = 1_000_000

    def now_ms(self) -> int:
        return self.time_ms


class LedgerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.generation = 0
        self.clock = Clock()
        self.rows: dict[str, Row] = {}
        self.claims: dict[str, int] = {}  # attachment -> pending_id
        self.settled: list[int] = []
        self.next_number = 0
        self._open()

    def _open(self) -> None:
        self.ledger = Ledger(self.folder / f"{self.generation}.db", wall=lambda: self.clock.time_ms / 1000)
        self.ledger.clock = self.clock

    def _forget_claims(self) -> None:
        for attachment in self.claims:
            self.rows[attachment].state = self.rows[attachment].waiting_state()
        self.claims.clear()

    @rule(grace_ms=st.integers(0, 500))
    def enqueue_new(self, grace_ms: int) -> None:
        self.next_number += 1
        attachment = str(uuid.UUID(int=self.next_number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
        assert enqueue(self.ledger, attachment, 1, grace_ms) == self.clock.time_ms + grace_ms
        self.rows[attachment] = Row(self.clock.time_ms, self.clock.time_ms + grace_ms)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def enqueue_known(self, data: st.DataObject) -> None:
        enqueue(self.ledger, data.draw(st.sampled_from(sorted(self.rows))), 1, 0)

    @rule(by_ms=st.integers(1, 400))
    def wait(self, by_ms: int) -> None:
        self.clock.time_ms += by_ms

    @rule(limit=st.integers(1, 5))
    def claim(self, limit: int) -> None:
        claims = self.ledger.claim(limit, self.clock.time_ms)
        waiting = sorted(
            row.due for row in self.rows.values() if row.state != "claimed" and row.due <= self.clock.time_ms
        )
        assert [claim.next_attempt_at for claim in claims] == waiting[:limit]
        for claim in claims:
            row = self.rows[claim.attachment_uuid]
            assert (row.state, row.due, row.attempts) == (row.waiting_state(), claim.next_attempt_at, claim.attempts)
            row.state = "claimed"
            self.claims[claim.attachment_uuid] = claim.pending_id

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        ends: dict[str, list[str]] = {"completed": [], "failed": [], "released": []}
        for attachment in sorted(self.claims):
            end = data.draw(st.sampled_from([*ends, "kept"]))
            if end != "kept":
                ends[end].append(attachment)
        self.ledger.settle(
            [self.claims[attachment] for attachment in ends["completed"]],
            [Failure(self.claims[attachment], "why", self.clock.time_ms + 100) for attachment in ends["failed"]],
            [self.claims[attachment] for attachment in ends["released"]],
        )
        for attachment in ends["completed"]:
            del self.rows[attachment]
            self.settled.append(self.claims[attachment])
        for attachment in ends["failed"]:
            self.rows[attachment].attempts += 1
            self.rows[attachment].due = self.clock.time_ms + 100
        for attachment in (*ends["failed"], *ends["released"]):
            self.rows[attachment].state = self.rows[attachment].waiting_state()
        for attachment in (*ends["completed"], *ends["failed"], *ends["released"]):
            del self.claims[attachment]

    @precondition(lambda self: self.settled)
    @rule(data=st.data())
    def settle_too_late(self, data: st.DataObject) -> None:
        with pytest.raises(StateError):
            self.ledger.complete([data.draw(st.sampled_from(self.settled))])

    @rule()
    def recover(self) -> None:
        assert self.ledger.recover() == len(self.claims)
        self._forget_claims()

    @rule()
    def hasten(self) -> None:
        self.ledger.hasten(self.clock.time_ms)
        for row in self.rows.values():
            if row.state != "claimed":
                row.due = min(row.due, self.clock.time_ms)

    @precondition(lambda self: self.rows)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        attachment = data.draw(st.sampled_from(sorted(self.rows)))
        claimed = attachment in self.claims
        assert self.ledger.withdraw([attachment]) == int(not claimed)
        if not claimed:
            del self.rows[attachment]

    @rule()
    def sync(self) -> None:
        self.ledger.sync()

    @rule()
    def close_and_open(self) -> None:
        self.ledger.close()
        self._reopened()

    @rule()
    def die_and_open(self) -> None:
        before = self.folder / f"{self.generation}.db"
        self.generation += 1
        for suffix in ("", "-wal"):  # what SIGKILL leaves; the index file (-shm) is rebuilt
            shutil.copy(f"{before}{suffix}", f"{self.folder / f'{self.generation}.db'}{suffix}")
        self.ledger.close()
        self._reopened()

    def _reopened(self) -> None:
        self._open()
        assert self.ledger.recovered == len(self.claims)
        self._forget_claims()
        self.settled.clear()  # a new process holds no old numbers

    @invariant()
    def agrees(self) -> None:
        states = [row.state for row in self.rows.values()]
        assert self.ledger.counts() == tuple(states.count(state) for state in ("pending", "claimed", "failed"))
        waiting = [row.due for row in self.rows.values() if row.state != "claimed"]
        assert self.ledger.next_due() == min(waiting, default=None)
        assert self.ledger.oldest() == min((row.enqueued_at for row in self.rows.values()), default=None)
        connection = sqlite3.connect(self.ledger.path)
        found = connection.execute("SELECT attachment_uuid, state, attempts, next_attempt_at FROM pending").fetchall()
        connection.close()
        assert {row[0]: row[1:] for row in found} == {
            attachment: (row.state, row.attempts, row.due) for attachment, row in self.rows.items()
        }

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.folder)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
