"""The audit and header copies: only what Orthanc neither holds in memory nor makes again at its next start is found."""

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferred_delete import LEDGER_NAME, DeferredDelete, Intake, Ledger, Settings
from deferred_delete.audit.comparison import Report, Walk, compare
from deferred_delete.audit.next_start import NextStart
from deferred_delete.audit.offline import stopped_index, stopped_ledger
from deferred_delete.audit.online import OnlineAudit
from deferred_delete.orthanc_client import OrthancClient
from deferred_delete.storage.file_storage import FileStorage
from deferred_delete.storage.header_copies import HEADER_TYPE, INDEXED_AT_ROW
from deferred_delete.storage.layout import write_all
from deferred_delete.storage.write_behind import WriteBehindStorage
from plugin import index
from tests.unit.deferred_delete.test_audit import ATTACHED_FILES
from tests.unit.deferred_delete.test_cli import run  # noqa: F401  a fixture
from tests.unit.deferred_delete.test_write_behind import Ingest, wait_for

Uuids = Callable[[int], list[str]]
HEADER = bytes(128) + b"DICM" + b"tags" * 50
IMAGE = HEADER + b"pixels" * 100
PLAIN, COMPRESSED = 1, 2


@contextlib.contextmanager
def changed(path: Path) -> Iterator[sqlite3.Connection]:
    """A database, closed again, with what was changed."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        yield connection


class Archive:
    """A stopped Orthanc's storage, index and ledger. Each image has a header copy."""

    def __init__(self, root: Path, names: Iterator[str]) -> None:
        self.storage = FileStorage(root, sync=False)
        self.ledger = root / LEDGER_NAME
        self._names = names
        self._index = root / "index"
        self._stored = 0
        with changed(self._index) as connection:
            connection.execute(ATTACHED_FILES)

    def store(self, count: int = 1, *, age_s: float = 0.0, compression: int = PLAIN) -> list[tuple[str, str]]:
        """Stores images; returns their UUIDs and those of their header copies."""
        stored = []
        with changed(self._index) as connection:
            for _ in range(count):
                image, header = next(self._names), next(self._names)
                self._stored += 1
                for name, content_type, content in ((image, 1, IMAGE), (header, HEADER_TYPE, HEADER)):
                    self.storage.create(name, content)
                    row = (self._stored, content_type, name, len(content), len(content), compression)
                    connection.execute("INSERT INTO AttachedFiles VALUES (?, ?, ?, ?, ?, ?)", row)
                os.utime(self.storage.path_of(image), (0, time.time() - age_s))
                stored.append((image, header))
        return stored

    def end(self, *, clean: bool, refused: bool = False, booted_since: bool = False) -> None:
        """How the last run ended."""
        ledger = Ledger(self.ledger)
        ledger.power_loss.note_headers_missing(missing=refused)
        ledger.close(clean=clean)
        if booted_since:
            with changed(self.ledger) as connection:
                connection.execute("UPDATE facts SET value = 'another' WHERE name = 'boot_id'")

    def audit(self) -> Report:
        with (
            stopped_ledger(self.ledger if self.ledger.exists() else None) as ledger,
            stopped_index(self._index) as known,
        ):
            next_start = NextStart(self.storage.root, known, ledger.headers_within_s())
            return compare(
                Walk(self.storage.root), known.attachments(), waits=ledger.waits, look_again=next_start.look_again
            )

    def start_and_stop(self) -> None:
        header_copies = index.header_copies(self._index)
        DeferredDelete(self.storage.root, Settings(), sync=False, header_copies=header_copies).close()


@pytest.fixture
def archive(tmp_path: Path, uuids: Uuids) -> Archive:
    return Archive(tmp_path / "storage", iter(uuids(4000)))


def told(report: Report) -> set[tuple[str, str]]:
    return {(finding.kind, finding.attachment_uuid) for finding in report.findings}


def missing(*names: str) -> set[tuple[str, str]]:
    return {("missing", name) for name in names}


def assert_the_start_does_as_foretold(archive: Archive, report: Report) -> None:
    """What was counted is there then, and what was found is found again."""
    archive.start_and_stop()
    again = archive.audit()
    assert again.header_copies_to_rebuild == 0
    assert told(again) == told(report)


@pytest.mark.parametrize(
    ("ended", "made_again"),
    [
        ({"clean": False}, True),  # killed
        ({"clean": True}, False),  # nobody looks
        ({"clean": True, "booted_since": True}, True),
        ({"clean": True, "refused": True}, True),
    ],
    ids=["killed", "clean", "booted since", "refused by the disk"],
)
def test_a_missing_copy_is_a_finding_only_where_the_next_start_does_not_look(
    archive: Archive, ended: dict[str, bool], made_again: bool
) -> None:
    ((_, gone), (_, torn), _) = archive.store(3)
    archive.storage.delete(gone)
    archive.storage.path_of(torn).write_bytes(HEADER[:40])
    archive.end(**ended)
    report = archive.audit()
    assert told(report) == (set() if made_again else {("missing", gone), ("size", torn)})
    assert report.header_copies_to_rebuild == (2 if made_again else 0)
    assert report.clean is made_again
    assert_the_start_does_as_foretold(archive, report)


def test_a_copy_without_a_whole_image_is_lost_with_it(archive: Archive) -> None:
    ((image, header), (short, of_short), (cut, of_cut)) = archive.store(3)
    for name in (image, header, of_short, of_cut):
        archive.storage.delete(name)
    archive.storage.path_of(short).write_bytes(IMAGE[: len(HEADER) - 1])
    archive.storage.path_of(cut).write_bytes(IMAGE[: len(HEADER)])  # enough for the copy
    archive.end(clean=False)
    report = archive.audit()
    assert told(report) == missing(image, header, of_short) | {("size", short), ("size", cut)}
    assert report.header_copies_to_rebuild == 1
    assert_the_start_does_as_foretold(archive, report)


def test_what_is_no_plain_header_copy_is_never_made_again(archive: Archive) -> None:
    ((_, header),) = archive.store(compression=COMPRESSED)
    ((image, _),) = archive.store()
    archive.storage.delete(header)
    archive.storage.delete(image)
    archive.end(clean=False, refused=True)
    report = archive.audit()
    assert (told(report), report.header_copies_to_rebuild) == (missing(header, image), 0)
    assert_the_start_does_as_foretold(archive, report)


@pytest.mark.parametrize("refused", [False, True], ids=["killed", "refused by the disk"])
def test_a_copy_older_than_the_start_looks_is_a_finding(archive: Archive, refused: bool) -> None:
    ((_, old),) = archive.store(age_s=7200)
    archive.store(300, age_s=3600)
    ((_, new), *_) = archive.store(10)
    archive.storage.delete(old)
    archive.storage.delete(new)
    archive.end(clean=False, refused=refused)
    report = archive.audit()
    assert told(report) == (set() if refused else missing(old))
    assert report.header_copies_to_rebuild == (2 if refused else 1)
    assert_the_start_does_as_foretold(archive, report)


def test_without_a_ledger_nobody_knows_what_the_next_start_does(archive: Archive) -> None:
    ((_, header),) = archive.store()
    archive.storage.delete(header)
    assert told(archive.audit()) == missing(header)


def test_the_command_counts_them_and_says_that_everything_fits(archive: Archive, run) -> None:  # noqa: F811
    ((_, header),) = archive.store()
    archive.storage.delete(header)
    archive.end(clean=False)
    answer = run("audit", archive.storage.root, "--json")
    assert answer.returncode == 0, answer.stderr
    (totals,) = map(json.loads, answer.stdout.splitlines())
    assert (totals["header_copies_to_rebuild"], totals["header_copies_in_memory"], totals["missing"]) == (1, 0, 0)
    assert "header copies to rebuild" in run("audit", archive.storage.root).stdout


def test_a_copy_is_looked_up_by_its_row(archive: Archive) -> None:
    """The same work with ten million rows as with ten."""
    archive.store(100)
    with changed(archive.storage.root / "index") as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {INDEXED_AT_ROW}", (50,))]
    assert any("SEARCH header USING INTEGER PRIMARY KEY (rowid=?)" in step for step in plan), plan
    assert any("SEARCH dicom USING INDEX" in step for step in plan), plan


# While Orthanc runs.


class Answer:
    status = 200

    def __init__(self, document: object) -> None:
        self.body = json.dumps(document).encode()


class RunningOrthanc:
    """One series, told of as by Orthanc's REST API.

    `asked_again` is called before an attachment is told of for the second time.
    """

    def __init__(self, storage: WriteBehindStorage, ledger: Ledger, names: Iterator[str]) -> None:
        self.storage = storage
        self.asked_again: Callable[[], None] = lambda: None
        self._attachments: dict[str, dict[str, str]] = {}
        self._asked: set[str] = set()
        self._names = names
        self._ledger = ledger

    def store(self, *, expanded_by: int = 0) -> tuple[str, str]:
        """Stores an image; returns its UUID and that of its header copy.

        Both were so many bytes longer before Orthanc compressed them.
        """
        image, header = next(self._names), next(self._names)
        self.storage.create(image, IMAGE)
        self.storage.create_later(header, HEADER)
        for kind, name, content in (("dicom", image, IMAGE), ("dicom-until-pixel-data", header, HEADER)):
            sizes = {"CompressedSize": str(len(content)), "UncompressedSize": str(len(content) + expanded_by)}
            self._attachments[f"/instances/{image}/attachments/{kind}/info"] = {"Uuid": name} | sizes
        return image, header

    def audit(self, *, headers_left_out: bool = False) -> Report:
        audit = OnlineAudit(
            self.storage, Intake(self._ledger), OrthancClient(self._send), headers_left_out=headers_left_out
        )
        assert audit.start()
        assert audit.join(30.0)
        state = audit.state()
        assert state.report is not None, state
        return state.report

    def _send(self, _method: str, path: str, _body: bytes) -> Answer:
        if path in self._attachments:
            if path in self._asked:
                self.asked_again()
            self._asked.add(path)
            return Answer(self._attachments[path])
        infos = [each for each in self._attachments if each.startswith(f"{path}/")]
        if path.startswith("/instances/"):
            return Answer([each.split("/")[-2] for each in infos])
        instances = sorted({each.split("/")[2] for each in self._attachments})
        return Answer({"/series": ["only"], "/series/only": {"Instances": instances}}.get(path, []))


@pytest.fixture
def ingest() -> Ingest:
    return Ingest()


@pytest.fixture
def orthanc(tmp_path: Path, ingest: Ingest, ledger: Ledger, uuids: Uuids) -> Iterator[RunningOrthanc]:
    """Holds header copies until `ingest` says that it pauses: its clock stands still."""
    storage = WriteBehindStorage(FileStorage(tmp_path / "storage", sync=False), busy=ingest, monotonic=lambda: 0.0)
    storage.start()
    yield RunningOrthanc(storage, ledger, iter(uuids(100)))
    storage.stop(5.0)


def pause(orthanc: RunningOrthanc, ingest: Ingest) -> None:
    """Until all copies are written."""
    ingest.busy = False
    wait_for(lambda: orthanc.storage.unwritten == 0)


def test_copies_in_memory_are_counted_and_a_lost_one_is_found(orthanc: RunningOrthanc, ingest: Ingest) -> None:
    _, lost = orthanc.store()
    pause(orthanc, ingest)
    ingest.busy = True
    orthanc.storage.path_of(lost).unlink()
    orthanc.store()
    orthanc.store()
    report = orthanc.audit()
    assert told(report) == missing(lost)
    assert (report.files, report.header_copies_in_memory, report.attachments) == (3, 2, 6)


def test_a_copy_that_was_written_since_the_folder_was_read_is_no_finding(
    orthanc: RunningOrthanc, ingest: Ingest
) -> None:
    orthanc.store()
    orthanc.asked_again = lambda: pause(orthanc, ingest)
    report = orthanc.audit()
    assert (told(report), report.header_copies_in_memory) == (set(), 0)


def test_a_copy_that_is_just_being_written_is_in_memory_still(
    orthanc: RunningOrthanc, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    half_written, go_on = threading.Event(), threading.Event()

    def slowly(descriptor: int, content: bytes) -> None:
        if content != HEADER:
            return write_all(descriptor, content)
        os.write(descriptor, content[:10])
        half_written.set()
        assert go_on.wait(30)
        return write_all(descriptor, content[10:])

    monkeypatch.setattr("deferred_delete.storage.file_storage.write_all", slowly)
    orthanc.store()
    ingest.busy = False
    assert half_written.wait(30)
    try:
        report = orthanc.audit()
    finally:
        go_on.set()
    assert (told(report), report.files, report.header_copies_in_memory) == (set(), 2, 1)


@pytest.mark.parametrize("left_out", [True, False])
def test_what_the_start_left_out_is_made_again_by_the_next_one(
    orthanc: RunningOrthanc, ingest: Ingest, left_out: bool
) -> None:
    _, gone = orthanc.store()
    image, with_its_image = orthanc.store()
    _, compressed = orthanc.store(expanded_by=100)
    pause(orthanc, ingest)
    for name in (gone, image, with_its_image, compressed):
        orthanc.storage.path_of(name).unlink()
    report = orthanc.audit(headers_left_out=left_out)
    lost = missing(image, with_its_image, compressed)
    assert told(report) == (lost if left_out else lost | missing(gone))
    assert report.header_copies_to_rebuild == left_out
