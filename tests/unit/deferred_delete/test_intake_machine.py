"""Journal and ledger against a model: each removal is in one of them, once, until it is carried out."""

import contextlib
import shutil
import sqlite3
import tempfile
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deferred_delete import Intake, Ledger, LedgerError, StorageError
from deferred_delete import intake as intake_module
from deferred_delete.journal import journal as journal_module
from deferred_delete.ledger.place import journal_folder
from tests.unit.deferred_delete.conftest import FakeClock

GRACE_MS = 100


class IntakeMachine(RuleBasedStateMachine):
    """`waiting`: what the ledger and the journal have to have between them, in order. `gone`: what was carried out.

    What was carried out and not yet noted in the ledger is asked for a second time after a crash: unlinking a file
    twice is harmless.
    """

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(journal_module, "CAPACITY", 7)
        self.patch.setattr(intake_module, "MOVE_AT_ONCE", 5)
        self.folder = Path(tempfile.mkdtemp(prefix="intake machine "))
        self.clock = FakeClock()
        self.other: sqlite3.Connection | None = None
        self.waiting: dict[str, int] = {}  # attachment -> when it was removed
        self.carried_out: dict[str, int] = {}  # since the position in the ledger
        self.in_ledger: set[str] = set()
        self.number = 0
        self._open()

    def _open(self) -> None:
        wall = lambda: self.clock.time_ms / 1000  # noqa: E731
        self.ledger = Ledger(self.folder / "ledger.db", busy_timeout_ms=0, wall=wall)
        self.ledger.clock = self.clock  # type: ignore[assignment]
        self.intake = Intake(self.ledger, GRACE_MS)

    def _moved_up_to_here(self) -> None:
        self.in_ledger = set(self.waiting)
        self.carried_out.clear()

    @rule(count=st.integers(1, 9))
    def add(self, count: int) -> None:
        for _ in range(count):
            self.number += 1
            attachment = str(uuid.UUID(int=self.number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
            self.intake.add(attachment, 1)
            self.waiting[attachment] = self.clock.time_ms

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def remove_a_second_time(self, data: st.DataObject) -> None:
        """As Orthanc never does; it counts twice until it is moved, so it is moved at once."""
        known = data.draw(st.sampled_from(sorted(self.waiting)))
        if self.other is None:
            self.intake.add(known, 1)
            self.intake.move_all()
            self._moved_up_to_here()

    @rule(by_ms=st.integers(1, 150))
    def wait(self, by_ms: int) -> None:
        self.clock.time_ms += by_ms

    @precondition(lambda self: self.other is None)
    @rule()
    def lock(self) -> None:
        self.other = sqlite3.connect(self.folder / "ledger.db", isolation_level=None)
        self.other.execute("BEGIN IMMEDIATE")

    @precondition(lambda self: self.other is not None)
    @rule()
    def unlock(self) -> None:
        assert self.other is not None
        self.other.close()
        self.other = None

    @rule()
    def move(self) -> None:
        if self.other is not None and self.intake.waiting:
            with pytest.raises(LedgerError):
                self.intake.move()
        elif self.other is None:
            self.intake.move()
            noted = [each for each in self.carried_out if not self.intake._journal.holds(each, self.intake._moved)]
            for attachment in noted:
                del self.carried_out[attachment]

    @rule()
    def move_all(self) -> None:
        if self.other is None:
            self.intake.move_all()
            assert self.intake.waiting == 0
            self._moved_up_to_here()

    @rule(limit=st.integers(1, 10), refuse=st.sets(st.integers(0, 9)))
    def carry_out(self, limit: int, refuse: set[int]) -> None:
        calls: list[str] = []

        def delete(attachment: str) -> None:
            calls.append(attachment)
            if len(calls) - 1 in refuse:
                raise StorageError("busy")

        deleted = self.intake.carry_out(delete, lambda: True, limit)
        assert deleted == sum(number not in refuse for number in range(len(calls)))
        for number, attachment in enumerate(calls):
            assert attachment not in self.in_ledger
            assert self.waiting[attachment] + GRACE_MS <= self.clock.time_ms, "before its time"
            if number not in refuse:
                self.carried_out[attachment] = self.waiting.pop(attachment)

    @rule()
    def tidy(self) -> None:
        with contextlib.suppress(LedgerError):
            self.intake.tidy()

    @precondition(lambda self: self.other is None)
    @rule()
    def crash(self) -> None:
        """SIGKILL: nothing is closed, only the lock goes."""
        self._drop()
        self._open()
        self.waiting = self.carried_out | self.waiting
        self._moved_up_to_here()
        assert self.intake.waiting == 0

    def _drop(self) -> None:
        database = self.ledger._database
        database._reader.close()
        copy = {path: path.read_bytes() for path in self.folder.glob("ledger.db*") if path.is_file()}
        database._writer.close()  # this copies the log back, which a SIGKILL does not
        database._owner.release()
        for path, content in copy.items():
            if not path.name.endswith(".lock"):
                path.write_bytes(content)

    @rule(late=st.integers(0, 3))
    def stop_and_start(self, late: int) -> None:
        """A proper stop, also while another process locks the ledger; some removals come after it."""
        if self.other is None:
            assert self.intake.close(60)
            self._moved_up_to_here()
        elif self.intake.waiting:
            with pytest.raises(LedgerError):
                self.intake.close(60)
        if late:
            self.add(late)
        if self.other is not None:
            self.unlock()
        self.ledger.close()
        self._open()
        self.waiting = self.carried_out | self.waiting
        self._moved_up_to_here()

    @invariant()
    def each_is_there_once(self) -> None:
        assert self.intake.counts().pending == len(self.waiting)
        assert self.intake.counts().total == len(self.waiting)
        assert all(map(self.intake.waits, self.waiting))
        if not self.carried_out:
            assert self.intake.oldest() == min(self.waiting.values(), default=None)

    def teardown(self) -> None:
        if self.other is not None:
            self.unlock()
        assert self.intake.close(60)
        with sqlite3.connect(self.folder / "ledger.db") as connection:
            rows = connection.execute("SELECT attachment_uuid, enqueued_at, next_attempt_at FROM pending").fetchall()
        connection.close()
        assert {row[0] for row in rows} == set(self.waiting)
        for attachment, enqueued_at, due in rows:
            assert (enqueued_at, due) == (self.waiting[attachment], self.waiting[attachment] + GRACE_MS)
        files = sorted(journal_folder(self.ledger.path).iterdir())
        assert len(files) <= 3, "files are left behind"
        self.ledger.close()
        shutil.rmtree(self.folder)
        self.patch.undo()


TestIntakeMachine = IntakeMachine.TestCase
TestIntakeMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
