"""Background deletions and held files in the ledger, without Orthanc."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from deferred_delete import Ledger
from deferred_delete.ledger import schema
from deferred_delete.ledger.restore_rows import Verdict
from deferred_delete.ledger.study_states import WAYS, DeletionState, RestoreState, before, listed, under_way
from deferred_delete.orthanc_client import OrthancClient, OrthancRequestError
from deferred_delete.request_pacing import RequestPacing
from deferred_delete.studies.deleter import StudyDeleter, is_orthanc_id
from deferred_delete.studies.dicom_header import Header
from tests.support.ledgers import enqueue

Uuids = Callable[[int], list[str]]
STUDY = "-".join(["0000000a"] * 5)


class Answer(NamedTuple):
    status: int
    body: bytes = b""


class FakeOrthanc:
    """One study of some instances; `ill` are answered with 500."""

    def __init__(self, count: int) -> None:
        self.instances = [f"i{number:04}" for number in range(count)]
        self.ill: set[str] = set()
        self.arrive: list[str] = []
        self.asked: list[str] = []

    def __call__(self, method: str, path: str, _body: bytes) -> Answer:
        self.asked.append(f"{method} {path}")
        name = path.rpartition("/")[2]
        if method == "DELETE":
            if name in self.ill:
                return Answer(500, b'{"Message": "index is busy"}')
            if name not in self.instances:
                return Answer(404)
            self.instances.remove(name)
            self.instances += self.arrive
            self.arrive = []
            return Answer(200)
        if path.startswith("/studies/") and self.instances:
            return Answer(200, json.dumps([{"ID": each} for each in self.instances]).encode())
        return Answer(404)


def work(ledger: Ledger, orthanc: FakeOrthanc, steps: int = 100) -> None:
    deleter = StudyDeleter(ledger.studies, OrthancClient(orthanc), lambda: False, lambda _: None)
    for _ in range(steps):
        if deleter.step() is None:
            return


@pytest.fixture
def version_1(tmp_path: Path) -> Path:
    """A ledger as version 0.1.0 made it."""
    path = tmp_path / "old.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        connection.executescript(Path(schema.__file__).with_name("schema.sql").read_text())
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO pending (pending_id, attachment_uuid, content_type, enqueued_at, next_attempt_at) "
            "VALUES (7, ?, 1, 5, 5)",
            ("0000000a-0000-4000-8000-000000000000",),
        )
    connection.close()
    return path


def test_a_ledger_of_version_1_is_migrated_with_its_rows(version_1: Path) -> None:
    with Ledger(version_1) as ledger:
        assert ledger.counts().pending == 1
        assert ledger.studies.request([STUDY]) == 1
    with Ledger(version_1) as ledger:
        assert [each.state for each in ledger.studies.listed()] == ["queued"]
        (claim,) = ledger.claim(10, ledger.clock.now_ms())
        assert claim.pending_id == 7


@pytest.fixture
def version_2(version_1: Path) -> Path:
    """A ledger of version 2: a deletion under way with its list, a restore that imports, and one that is incomplete."""
    with sqlite3.connect(version_1) as connection:
        connection.executescript(Path(schema.__file__).with_name("schema_2.sql").read_text())
        connection.execute("PRAGMA user_version = 2")
        connection.executescript(
            f"""
            INSERT INTO resource_deletions
                (deletion_id, orthanc_id, level, state, instances_total, queued_at, attempts, last_error)
                VALUES (3, '{STUDY}', 'study', 'running', 2, 5, 4, 'busy');
            INSERT INTO resource_deletion_instances VALUES (3, 1, 'i0001');
            INSERT INTO restores
                (restore_id, study_instance_uid, state, requested_at, instances_gone, outcomes, last_error)
                VALUES (1, '1.1', 'incomplete', 5, 2, '{{"refused": 1}}', 'why'),
                (2, '1.2', 'importing', 6, 0, '{{}}', NULL);
            INSERT INTO pending (pending_id, attachment_uuid, content_type, enqueued_at, next_attempt_at)
                VALUES (8, '0000000b-0000-4000-8000-000000000000', 1, 5, 5);
            INSERT INTO held VALUES (8, '0000000b-0000-4000-8000-000000000000', 1, 5, 0, 5, 2, '1.3', NULL, NULL);
            """
        )
    connection.close()
    return version_1


def test_a_ledger_of_version_2_keeps_its_deletions_its_restores_and_what_they_hold(version_2: Path) -> None:
    with Ledger(version_2) as ledger:
        (deletion,) = ledger.studies.listed()
        assert (deletion.deletion_id, deletion.orthanc_id, deletion.state, deletion.level) == (
            3,
            STUDY,
            "running",
            "study",
        )
        assert (deletion.attempts, deletion.last_error, deletion.instances_done) == (4, "busy", 1)
        importing, incomplete = ledger.restores.progress()
        assert (importing.state, importing.files_held) == ("importing", 1)
        assert (incomplete.state, incomplete.outcomes, incomplete.instances_gone) == ("incomplete", {"refused": 1}, 2)
        assert not ledger.restores.request("1.2"), "one at a time, still"
        assert ledger.studies.request([STUDY]) == 0
        (restore,) = ledger.restores.under_way()
        (wanted,) = ledger.restores.to_import(restore, 10)
        assert wanted.sop_instance_uid == "1.3"
        assert ledger.restores.cancel("1.2")
        assert [claim.pending_id for claim in ledger.claim(10, ledger.clock.now_ms())] == [7, 8]


def _instructions(path: Path) -> int:
    """What the migration to version 3 costs, in SQLite's own instructions; it is taken back."""
    connection = sqlite3.connect(path, isolation_level=None)
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    connection.execute("BEGIN")
    schema.MIGRATIONS[1](connection)
    connection.execute("ROLLBACK")
    connection.close()
    return steps


def test_the_migration_to_version_3_costs_as_much_with_many_pending_deletions_as_with_few(version_2: Path) -> None:
    with_few = _instructions(version_2)
    with sqlite3.connect(version_2) as connection:
        connection.execute(
            "INSERT INTO pending (pending_id, attachment_uuid, content_type, enqueued_at, next_attempt_at) "
            "WITH RECURSIVE n(x) AS (SELECT 100 UNION ALL SELECT x + 1 FROM n LIMIT 20000) "
            "SELECT x, 'u' || x, 1, 5, 5 FROM n"
        )
    connection.close()
    assert with_few > 100
    assert _instructions(version_2) == with_few


def test_states_in_the_schema_are_those_of_the_code(ledger: Ledger) -> None:
    connection = sqlite3.connect(ledger.path)
    for table, kind in (("resource_deletions", DeletionState), ("restores", RestoreState)):
        (text,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        assert f"CHECK (state IN {listed(kind)})" in text
        (text,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (f"{table}_open",)).fetchone()
        assert text.endswith(f"WHERE state IN {listed(under_way(kind))}")
    connection.close()


def test_every_state_that_is_no_end_can_be_cancelled_and_every_other_is_an_end() -> None:
    for kind in (DeletionState, RestoreState):
        for state in kind:
            assert (kind["CANCELLED"] in WAYS[state]) if state in under_way(kind) else state not in WAYS
            assert before(state) or state == next(iter(kind)), "each can be reached"


def test_a_change_that_is_no_way_changes_nothing(ledger: Ledger) -> None:
    ledger.studies.request([STUDY])
    (deletion,) = ledger.studies.listed()
    ledger.studies.end(deletion, DeletionState.DONE)
    assert ledger.studies.listed()[0].state == "queued", "it has not begun"
    ledger.studies.end(deletion, DeletionState.UNKNOWN)
    ledger.studies.end(deletion, DeletionState.FAILED)
    assert ledger.studies.listed()[0].state == "unknown"


def test_a_migration_that_fails_leaves_version_1(version_1: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise sqlite3.OperationalError("disk is full")

    before = shutil.copy(version_1, version_1.with_name("copy.db"))
    monkeypatch.setattr(schema, "MIGRATIONS", (broken,))
    with pytest.raises(Exception, match="disk is full"):
        Ledger(version_1)
    monkeypatch.undo()
    with sqlite3.connect(version_1) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
        assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    connection.close()
    Ledger(version_1).close()
    Ledger(Path(before)).close()


@pytest.mark.parametrize(
    ("text", "good"),
    [
        (STUDY, True),
        (STUDY.upper(), False),
        (STUDY[:-1], False),
        (STUDY + "\n", False),
        ("../system", False),
        (5, False),
    ],
)
def test_identifiers(text: object, good: bool) -> None:
    assert is_orthanc_id(text) is good


def test_a_list_is_taken_once_and_arrivals_stay(ledger: Ledger) -> None:
    orthanc = FakeOrthanc(50)
    orthanc.arrive = ["late"]
    assert ledger.studies.request([STUDY, STUDY]) == 1
    assert ledger.studies.request([STUDY]) == 0
    work(ledger, orthanc)
    assert orthanc.instances == ["late"]
    (progress,) = ledger.studies.progress()
    assert (progress.state, progress.instances_done, progress.instances_total) == ("done", 50, 50)
    assert "1 arrived after the start and stay" in progress.message
    assert ledger.studies.request([STUDY]) == 1, "after the end it may be asked again"


def test_an_ill_instance_goes_last_and_is_tried_again(ledger: Ledger, clock) -> None:
    ledger.clock = ledger.studies._clock = clock
    orthanc = FakeOrthanc(40)
    orthanc.ill = {"i0000"}
    ledger.studies.request([STUDY])
    work(ledger, orthanc, steps=4)
    (progress,) = ledger.studies.progress()
    assert progress.error is not None
    assert "index is busy" in progress.error
    for _ in range(10):
        clock.time_ms += 400_000
        work(ledger, orthanc, steps=4)
    assert orthanc.instances == ["i0000"]
    orthanc.ill = set()
    clock.time_ms += 400_000
    work(ledger, orthanc)
    (progress,) = ledger.studies.progress()
    assert (progress.state, progress.error) == ("done", None)


def test_what_is_cancelled_stays_cancelled(ledger: Ledger) -> None:
    orthanc = FakeOrthanc(40)
    ledger.studies.request([STUDY])
    work(ledger, orthanc, steps=2)
    assert ledger.studies.cancel(STUDY)
    assert not ledger.studies.cancel(STUDY)
    work(ledger, orthanc)
    assert len(orthanc.instances) == 24
    assert ledger.studies.progress()[0].message.startswith("cancelled: 16 of 40 instances were deleted")


def test_orthanc_not_answering_is_an_error_in_words() -> None:
    def refuse(*_: object) -> Answer:
        raise OSError("refused")

    with pytest.raises(OrthancRequestError, match="refused"):
        OrthancClient(refuse).ask("GET", "/system")


def test_the_pause_grows_in_a_crowd_and_shrinks_after_it_within_bounds() -> None:
    yielding = RequestPacing()
    calm = [yielding.pause_s(0.002) for _ in range(50)][-1]
    unlucky = yielding.pause_s(0.006)
    crowd = [yielding.pause_s(0.03) for _ in range(12)][-1]
    after = [yielding.pause_s(0.002) for _ in range(100)][-1]
    assert calm == pytest.approx(0.002)
    assert after == pytest.approx(0.002)
    assert unlucky < 0.006
    assert crowd == 0.25


def remember(ledger: Ledger, attachments: list[str], study: str = "1.2", sop: str = "1.3.{}") -> None:
    rows = ledger.deleted_studies.unread(0, 1000)
    ids = {uuid: pending_id for pending_id, uuid in rows}
    ledger.deleted_studies.remember(
        [
            (ids[uuid], uuid, 10, Header(study, sop.format(number), "p", "n", "20260101", "d", "CT"))
            for number, uuid in enumerate(attachments)
        ]
    )


def test_held_files_cannot_be_claimed_nor_enqueued_and_come_back_as_they_were(ledger: Ledger, uuids: Uuids) -> None:
    attachments = uuids(6)
    for attachment in attachments:
        enqueue(ledger, attachment, 1)
    (claimed,) = ledger.claim(1, ledger.clock.now_ms())
    remember(ledger, attachments)
    ledger.restores.request("1.2")
    (restore,) = ledger.restores.under_way()
    assert not ledger.restores.hold(restore), "the worker may yet give back what it has in hand"
    assert ledger.restores.files_held() == 5
    assert ledger.restores.gathering
    assert ledger.claim(10, ledger.clock.now_ms()) == []
    for attachment in attachments:
        enqueue(ledger, attachment, 1)
    assert ledger.counts().total == 1
    ledger.complete([claimed.pending_id])
    assert ledger.restores.hold(restore)
    ledger.close()

    with Ledger(ledger.path) as again:
        (restore,) = again.restores.under_way()
        assert (restore.state, restore.instances_gone) == ("importing", 1)
        enqueue(again, "0000000a-0000-4000-8000-000000000000", 3)
        for wanted in again.restores.to_import(restore, 10):
            verdict = Verdict("restored") if wanted.sop_instance_uid != "1.3.5" else Verdict("refused", "why")
            again.restores.note(restore, wanted, verdict)
        assert again.restores.end(restore) == "incomplete"
        assert again.restores.files_held() == 1
        claims = again.claim(10, again.clock.now_ms() + 1)
        assert {claim.attachment_uuid for claim in claims} == {
            *attachments[1:5],
            "0000000a-0000-4000-8000-000000000000",
        }
        assert again.restores.release("1.2") == 1
        assert [claim.attachment_uuid for claim in again.claim(10, again.clock.now_ms() + 1)] == attachments[5:]


def test_what_an_incomplete_restore_holds_is_tried_by_the_next(ledger: Ledger, uuids: Uuids) -> None:
    (attachment,) = uuids(1)
    enqueue(ledger, attachment, 1)
    remember(ledger, [attachment])
    for outcome in ("refused", "restored"):
        ledger.restores.request("1.2")
        (restore,) = ledger.restores.under_way()
        ledger.restores.hold(restore)
        (wanted,) = ledger.restores.to_import(restore, 10)
        ledger.restores.note(restore, wanted, Verdict(outcome))
        ledger.restores.end(restore)
    assert ledger.restores.files_held() == 0
    assert [each.state for each in ledger.restores.progress()] == ["done", "incomplete"]


def test_of_several_versions_the_newest_comes_back(ledger: Ledger, uuids: Uuids) -> None:
    attachments = uuids(3)
    for attachment in attachments:
        enqueue(ledger, attachment, 1)
    remember(ledger, attachments, sop="1.3")
    (deleted,) = ledger.deleted_studies.listed()
    assert (deleted.instances, deleted.bytes) == (1, 30)
    ledger.restores.request("1.2")
    (restore,) = ledger.restores.under_way()
    ledger.restores.hold(restore)
    assert [wanted.attachment_uuid for wanted in ledger.restores.to_import(restore, 10)] == [attachments[2]]


def test_a_held_file_that_a_power_cut_brought_back_to_life_is_withdrawn(ledger: Ledger, uuids: Uuids) -> None:
    attachments = uuids(2)
    for attachment in attachments:
        enqueue(ledger, attachment, 1)
    remember(ledger, attachments)
    ledger.restores.request("1.2")
    ledger.restores.hold(ledger.restores.under_way()[0])
    assert ledger.withdraw([attachments[0]]) == 1
    assert ledger.restores.held_attachments() == [attachments[1]]
    assert ledger.counts().total == 0


def test_identifiers_are_not_used_again_while_something_remembers_them(ledger: Ledger, uuids: Uuids) -> None:
    attachments = uuids(3)
    enqueue(ledger, attachments[0], 1)
    enqueue(ledger, attachments[1], 1)
    remember(ledger, attachments[:2])
    ledger.complete([claim.pending_id for claim in ledger.claim(10, ledger.clock.now_ms())])
    ledger.close()
    with Ledger(ledger.path) as again:
        enqueue(again, attachments[2], 1)
        assert [pending_id for pending_id, _ in again.deleted_studies.unread(0, 10)] == [3]
        assert again.deleted_studies.forget_gone() is False
        assert again.deleted_studies.remembered() == 1, "the newest stays as the mark up to which was read"
