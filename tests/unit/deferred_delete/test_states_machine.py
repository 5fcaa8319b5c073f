"""Restores and background deletions in any order of events: every state has an exit, and none waits for ever.

The real ledger, worker, restorer and deleter around a fake Orthanc. At the end of every story three copies of it go on:
Orthanc is well; Orthanc stays ill for ever; Orthanc stays ill and an operator cancels. In each of them everything comes
to an end.
"""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from deferred_delete.ledger.study_states import WAYS, DeletionState, RestoreState, under_way
from deferred_delete.studies import deleter as study_deleter
from deferred_delete.studies import restorer
from tests.support.archive import Archive, dicom, orthanc_id

STUDIES = st.integers(1, 3)
MOODS = st.sampled_from(["healthy", "healthy", "full", "ill", "refusing", "away"])
OPEN = {*under_way(DeletionState), *under_way(RestoreState)}
ENOUGH_STEPS = 200


@pytest.fixture(autouse=True)
def few_attempts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(restorer, "GIVE_UP_AFTER", 4)
    monkeypatch.setattr(study_deleter, "GIVE_UP_AFTER", 4)
    logger = logging.getLogger("deferred_delete")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


def reachable(origin: Any) -> set[Any]:
    found = {origin}
    while more := {end for state in found for end in WAYS.get(state, ())} - found:
        found |= more
    return found


def states(archive: Archive) -> dict[tuple[str, int], Any]:
    deletions = {("deletion", each.deletion_id): DeletionState(each.state) for each in archive.ledger.studies.listed()}
    rows = archive.ledger._database.query("SELECT restore_id, state FROM restores")
    return deletions | {("restore", restore_id): RestoreState(state) for restore_id, state in rows}


def all_ended(archive: Archive) -> bool:
    return not OPEN & set(states(archive).values())


class StatesMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.archive = Archive(self.folder / "archive")
        self.in_hand: list[int] = []
        self.seen: dict[tuple[str, int], Any] = {}
        for study in (1, 2, 3):
            for number in range(5):
                self.archive.store(dicom(study, number))

    @rule(mood=MOODS)
    def orthanc_changes(self, mood: str) -> None:
        self.archive.mood = mood

    @rule(study=STUDIES, number=st.integers(0, 4))
    def one_instance_falls_ill_or_gets_well(self, study: int, number: int) -> None:
        self.archive.ill_ones ^= {f"1.{study}.{number}"}

    @rule(study=STUDIES, number=st.integers(0, 5))
    def an_instance_arrives(self, study: int, number: int) -> None:
        self.archive.store(dicom(study, number))

    @rule(study=STUDIES, grace_ms=st.sampled_from([0, 3_600_000]))
    def a_study_is_deleted_at_once(self, study: int, grace_ms: int) -> None:
        for sop in self.archive.of(study):
            self.archive.delete(sop, grace_ms)

    @rule(study=STUDIES)
    def a_deletion_is_asked_for(self, study: int) -> None:
        self.archive.service.delete([orthanc_id(study)])

    @rule(study=STUDIES)
    def a_deletion_is_cancelled(self, study: int) -> None:
        self.archive.service.cancel([orthanc_id(study)])
        assert not self.archive.ledger.studies.is_open(orthanc_id(study))

    @rule(study=STUDIES)
    def a_restore_is_asked_for(self, study: int) -> None:
        if self.archive.service.restore(f"1.{study}"):
            assert self.archive.worker.withheld

    @rule(study=STUDIES)
    def a_restore_is_cancelled(self, study: int) -> None:
        self.archive.service.cancel_restore(f"1.{study}")
        assert f"1.{study}" not in {each.study_instance_uid for each in self.archive.ledger.restores.under_way()}

    @rule(study=STUDIES)
    def a_restore_is_cancelled_during_a_request(self, study: int) -> None:
        self.archive.before_answer = lambda _method, _path: self.archive.service.cancel_restore(f"1.{study}")
        self.archive.step()
        self.archive.before_answer = lambda _method, _path: None

    @rule(study=STUDIES)
    def what_is_held_is_released(self, study: int) -> None:
        self.archive.service.release(f"1.{study}")

    @rule(times=st.integers(1, 8))
    def the_thread_works(self, times: int) -> None:
        for _ in range(times):
            self.archive.step()

    @precondition(lambda self: not self.archive.worker.withheld)
    @rule()
    def the_worker_unlinks(self) -> None:
        self.archive.worker._drainer._unsettled = False  # what is in hand here is not its own
        self.archive.worker.run_once()

    @precondition(lambda self: not self.archive.worker.withheld and not self.in_hand)
    @rule()
    def the_worker_takes_files_in_hand(self) -> None:
        claims = self.archive.ledger.claim(4, self.archive.clock.now_ms() + 3_600_000)
        self.in_hand = [claim.pending_id for claim in claims]

    @precondition(lambda self: self.in_hand)
    @rule()
    def the_worker_gives_back_what_it_has_in_hand(self) -> None:
        self.archive.ledger.release(self.in_hand)
        self.in_hand = []

    @rule()
    def the_process_starts_anew(self) -> None:
        self.archive.close()
        self.archive.open()
        self.in_hand = []

    @invariant()
    def no_live_file_is_gone(self) -> None:
        for attachment in self.archive.instances.values():
            assert self.archive.storage.size(attachment)

    @invariant()
    def no_file_is_unlinked_while_files_are_looked_for(self) -> None:
        assert self.archive.worker.withheld or not self.archive.ledger.restores.gathering

    @invariant()
    def only_what_is_undecided_is_held(self) -> None:
        """Held files belong to a restore that is under way, or to one about which an operator is asked."""
        rows = self.archive.ledger._database.query("SELECT DISTINCT restore_id FROM held")
        found = {states(self.archive)["restore", restore_id] for (restore_id,) in rows}
        assert found <= {RestoreState.GATHERING, RestoreState.IMPORTING, RestoreState.INCOMPLETE}

    @invariant()
    def states_change_only_by_the_ways_there_are(self) -> None:
        now = states(self.archive)
        for key, state in now.items():
            assert state in reachable(self.seen.get(key, next(iter(type(state)))))
        self.seen = now

    def teardown(self) -> None:
        try:
            self._all_ends(self.archive.copied_to(self.folder / "well"), "healthy")
            self._all_ends(self.archive.copied_to(self.folder / "ill"), "ill")
            self._cancelled(self.archive.copied_to(self.folder / "cancelled"))
        finally:
            shutil.rmtree(self.folder)

    def _all_ends(self, archive: Archive, mood: str) -> None:
        archive.mood = mood
        archive.ill_ones = set()
        assert archive.run(ENOUGH_STEPS, lambda: all_ended(archive)), states(archive)
        archive.step()
        assert not archive.worker.withheld
        archive.close()

    def _cancelled(self, archive: Archive) -> None:
        archive.mood = "ill"
        for study in (1, 2, 3):
            archive.service.cancel_restore(f"1.{study}")
            archive.service.cancel([orthanc_id(study)])
            archive.service.release(f"1.{study}")
        assert all_ended(archive), states(archive)
        assert archive.ledger.restores.files_held() == 0
        assert not archive.worker.withheld
        archive.close()


TestStatesMachine = StatesMachine.TestCase
TestStatesMachine.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
