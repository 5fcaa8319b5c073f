"""python -m deferred_delete audit: what fits nobody is found, and nothing else is; nothing is changed unless asked."""

import json
import os
import sqlite3
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import FileStorage, Ledger
from deferred_delete.audit.comparison import Attachment, Verdict, Walk, compare
from tests.support.ledgers import enqueue
from tests.unit.deferred_delete.test_cli import run  # noqa: F401  a fixture

Uuids = Callable[[int], list[str]]
LONG_AGO = 1_600_000_000


# Orthanc's own, as far as it matters here.
ATTACHED_FILES = """
CREATE TABLE AttachedFiles (
    id INTEGER, fileType INTEGER, uuid TEXT, compressedSize INTEGER, uncompressedSize INTEGER, compressionType INTEGER,
    PRIMARY KEY (id, fileType)
)
"""


def index_of(path: Path, rows: list[tuple[str, int]]) -> None:
    with sqlite3.connect(path) as index:
        index.execute(ATTACHED_FILES)
        images = [(number, name, size_bytes, size_bytes) for number, (name, size_bytes) in enumerate(rows)]
        index.executemany("INSERT INTO AttachedFiles VALUES (?, 1, ?, ?, ?, 1)", images)
    index.close()


def age(storage: FileStorage) -> None:
    """ctime cannot be set: the tests say --young 0, and make a file young by a time to come."""
    for path in storage.root.glob("??/??/*"):
        os.utime(path, (LONG_AGO, LONG_AGO))
    time.sleep(0.02)


@pytest.fixture
def archive(storage: FileStorage, uuids: Uuids) -> list[str]:
    """Ten files: 0 to 4 in the index (4 of another size), 5 and 6 in the ledger, 7 to 9 orphans, 10 has no file."""
    names = uuids(11)
    for name in names[:10]:
        storage.create(name, b"12345")
    index_of(storage.root / "index", [(name, 9 if name == names[4] else 5) for name in [*names[:5], names[10]]])
    with Ledger(storage.root / "deferred-deletions.db") as ledger:
        ledger.enqueue_many([(name, 1) for name in names[5:7]], grace_ms=10_000_000)
    age(storage)
    return names


def findings(output: str) -> tuple[dict[str, set[str]], dict[str, int]]:
    *lines, totals = [json.loads(line) for line in output.splitlines()]
    kinds: dict[str, set[str]] = {}
    for line in lines:
        kinds.setdefault(line["kind"], set()).add(line["attachment_uuid"])
    return kinds, totals


def test_orphans_missing_files_and_sizes_are_found_and_nothing_is_changed(run, storage, archive) -> None:  # noqa: F811
    before = sorted(storage.root.glob("??/**/*"))
    answer = run("audit", storage.root, "--json", "--young", 0)
    kinds, totals = findings(answer.stdout)
    assert answer.returncode == 1, answer.stderr
    assert kinds == {"orphan": set(archive[7:10]), "missing": {archive[10]}, "size": {archive[4]}}
    assert (totals["files"], totals["attachments"], totals["waiting_files"], totals["orphan_bytes"]) == (10, 6, 2, 15)
    assert sorted(storage.root.glob("??/**/*")) == before
    assert "orphans" in run("audit", storage.root, "--young", 0).stdout


def test_young_files_are_no_orphans(run, storage, archive) -> None:  # noqa: F811
    kinds, totals = findings(run("audit", storage.root, "--json").stdout)
    assert "orphan" not in kinds
    assert totals["young_files"] == 3


def test_quarantine_moves_orphans_alone_and_back(run, storage, archive, tmp_path: Path) -> None:  # noqa: F811
    place = tmp_path / "quarantine 1"
    answer = run("audit", storage.root, "--json", "--young", 0, "--quarantine", place)
    assert findings(answer.stdout)[1]["quarantined"] == 3
    moved = {path.name for path in place.glob("??/??/*")}
    assert moved == set(archive[7:10])
    assert len((place / "manifest.jsonl").read_text().splitlines()) == 3
    assert {path.name for path in storage.root.glob("??/??/*")} == set(archive[:7])
    assert findings(run("audit", storage.root, "--json", "--young", 0).stdout)[1]["orphans"] == 0

    back = run("audit", storage.root, "--restore-from", place)
    assert "3 files moved back" in back.stdout, back.stderr
    assert {path.name for path in storage.root.glob("??/??/*")} == set(archive[:10])
    assert all(storage.read(name) == b"12345" for name in archive[7:10])


def test_a_file_in_the_way_is_never_overwritten(run, storage, archive, tmp_path: Path) -> None:  # noqa: F811
    place = FileStorage(tmp_path / "q", sync=False)
    place.create(archive[7], b"other")
    answer = run("audit", storage.root, "--young", 0, "--quarantine", place.root)
    assert answer.returncode == 2
    assert "cannot move" in answer.stderr
    assert storage.read(archive[7]) == b"12345"
    assert place.read(archive[7]) == b"other"


@pytest.mark.parametrize("inside", ["aa", "."])
def test_a_quarantine_inside_the_layout_is_refused(run, storage, archive, inside: str) -> None:  # noqa: F811
    answer = run("audit", storage.root, "--quarantine", storage.root / inside)
    assert answer.returncode == 2
    assert "layout" in answer.stderr


def test_the_ledger_is_looked_for_beside_the_index_too(run, storage, archive, tmp_path: Path) -> None:  # noqa: F811
    """Not found, it would make every file that waits an orphan, and a quarantine would take it."""
    elsewhere = tmp_path / "index folder"
    elsewhere.mkdir()
    (storage.root / "index").rename(elsewhere / "index")
    kinds, _ = findings(run("audit", storage.root, "--index", elsewhere / "index", "--json", "--young", 0).stdout)
    assert kinds["orphan"] == set(archive[7:10]), "in the storage folder, where earlier versions made it"
    (storage.root / "deferred-deletions.db").rename(elsewhere / "deferred-deletions.db")
    kinds, _ = findings(run("audit", storage.root, "--index", elsewhere / "index", "--json", "--young", 0).stdout)
    assert kinds["orphan"] == set(archive[7:10])
    Ledger(storage.root / "deferred-deletions.db").close()
    answer = run("audit", storage.root, "--index", elsewhere / "index")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "two ledgers" in answer.stderr


def test_a_quarantine_on_another_disk_is_refused(run, storage, archive, tmpfs) -> None:  # noqa: F811
    answer = run("audit", storage.root, "--quarantine", tmpfs(100) / "q")
    assert answer.returncode == 2
    assert "another file system" in answer.stderr


def test_without_an_index_or_with_orthanc_running_it_is_refused_in_one_line(run, storage, tmp_path: Path) -> None:  # noqa: F811
    answer = run("audit", storage.root)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "PostgreSQL" in answer.stderr
    index_of(storage.root / "index", [])
    with Ledger(storage.root / "deferred-deletions.db"):
        answer = run("audit", storage.root)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "in use by process" in answer.stderr
    (tmp_path / "text").write_text("text " * 500)
    answer = run("audit", storage.root, "--index", tmp_path / "text")
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "not a database" in answer.stderr


def test_an_attachment_that_both_know_is_said(run, storage, archive) -> None:  # noqa: F811
    with Ledger(storage.root / "deferred-deletions.db") as ledger:
        enqueue(ledger, archive[0], 1, 10_000_000)
    kinds, _ = findings(run("audit", storage.root, "--json").stdout)
    assert kinds["alive and pending"] == {archive[0]}


def test_what_is_no_attachment_is_counted_and_left_alone(storage: FileStorage, uuids: Uuids, tmp_path: Path) -> None:
    (name,) = uuids(1)
    storage.create(name, b"x")
    folder = storage.path_of(name).parent
    (folder / "notes.txt").touch()
    (folder / f"{name[:-1]}z").symlink_to("/etc/passwd")
    (folder / "0000000a-0000-4000-8000-000000000000").touch()  # in a folder that is not its own
    (storage.root / "zz").mkdir()
    (storage.root / "ab").symlink_to(tmp_path)
    walk = Walk(storage.root)
    assert [file.attachment_uuid for file in walk] == [name]
    assert walk.foreign == 3


def test_a_second_look_has_the_last_word(storage: FileStorage, uuids: Uuids) -> None:
    names = sorted(uuids(2))
    storage.create(names[0], b"x")
    known = [Attachment(names[1], 5)]
    report = compare(Walk(storage.root), known, waits=lambda _: False, look_again=lambda *_: Verdict.FITS, young_s=-10)
    assert report.clean
    assert (report.files, report.attachments) == (1, 1)


def test_memory_stays_the_same_with_many_findings(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        known = (Attachment(f"{number:08x}-0000-4000-8000-000000000000", 1) for number in range(count))
        tracemalloc.start()
        report = compare(Walk(tmp_path), known, waits=lambda _: False)
        assert report.missing == count
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    assert peak(60_000) < peak(6_000) * 1.1
