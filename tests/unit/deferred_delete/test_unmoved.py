"""Whoever asks what waits is also told what is in the journal only: audits, restores, the command line."""

from __future__ import annotations

import functools
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from deferred_delete import FileStorage, Intake, Ledger
from deferred_delete import __main__ as command_line
from deferred_delete.audit import online
from deferred_delete.audit.comparison import compare
from deferred_delete.audit.online import OnlineAudit
from deferred_delete.journal import journal
from deferred_delete.journal.record import Record
from deferred_delete.journal.segment import make_segment
from deferred_delete.ledger.place import journal_folder
from deferred_delete.ledger.unmoved import unmoved
from deferred_delete.orthanc_client import OrthancClient
from harness.orthanc_process import BUNDLE
from tests.support.archive import Answer, Archive, dicom
from tests.unit.deferred_delete.test_audit import age, findings, index_of
from tests.unit.deferred_delete.test_cli import run  # noqa: F401  a fixture

Uuids = Callable[[int], list[str]]
Run = Callable[..., subprocess.CompletedProcess[str]]

# Removes, says so, and stays until it is told to end, with all of it in the journal.
RUNS = """
import sys
from pathlib import Path
from deferred_delete import Intake, Ledger
with Ledger(Path(sys.argv[1])) as ledger:
    intake = Intake(ledger, grace_ms=3_600_000)
    for name in sys.argv[2:]:
        intake.add(name, 1)
    print("removed", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def path(storage: FileStorage) -> Path:
    """A ledger, where an audit looks for it."""
    storage.root.mkdir(exist_ok=True)
    return storage.root / "deferred-deletions.db"


@pytest.fixture
def remove_in_a_process(path: Path) -> Iterator[Callable[[list[str]], subprocess.Popen[bytes]]]:
    """Another process, with the ledger open, has removed these."""
    running: list[subprocess.Popen[bytes]] = []

    def start(names: list[str]) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", RUNS, str(path), *names]
        process = subprocess.Popen(command, cwd=BUNDLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"removed\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def moved_and_not(path: Path, names: list[str], moved: int) -> None:
    """The first are in the ledger, the others in its journal; the process is gone."""
    with Ledger(path) as ledger:
        intake = Intake(ledger, grace_ms=3_600_000)
        for name in names[:moved]:
            intake.add(name, 1)
        intake.move_all()
        for name in names[moved:]:
            intake.add(name, 1)


@pytest.mark.parametrize("moved", [0, 2, 5])
def test_an_audit_of_a_stopped_orthanc_finds_no_orphan_that_waits_in_the_journal(
    run: Run,  # noqa: F811
    storage: FileStorage,
    path: Path,
    uuids: Uuids,
    *,
    moved: int,
) -> None:
    names = uuids(8)
    for name in names[:7]:
        storage.create(name, b"12345")
    index_of(storage.root / "index", [(names[5], 5)])
    moved_and_not(path, [*names[:4], names[5]], moved)
    age(storage)
    before = sorted(each for each in storage.root.rglob("*") if each.suffix == ".segment")
    answer = run("audit", storage.root, "--json", "--young", 0)
    kinds, totals = findings(answer.stdout)
    assert kinds == {"orphan": {names[4], names[6]}, "alive and pending": {names[5]}}
    assert totals["waiting_files"] == 4
    assert sorted(each for each in storage.root.rglob("*") if each.suffix == ".segment") == before
    quarantine = storage.root.parent / "quarantine"
    run("audit", storage.root, "--young", 0, "--quarantine", quarantine)
    assert {name for name in names[:7] if storage.size(name) is None} == {names[4], names[6]}


@pytest.mark.parametrize("moved", [0, 2, 4])
def test_an_audit_of_a_running_orthanc_finds_no_orphan_that_waits_in_the_journal(
    storage: FileStorage, ledger: Ledger, uuids: Uuids, monkeypatch: pytest.MonkeyPatch, *, moved: int
) -> None:
    monkeypatch.setattr(online, "compare", functools.partial(compare, young_s=0.0))
    names = uuids(6)
    for name in names:
        storage.create(name, b"12345")
    age(storage)
    intake = Intake(ledger)
    for number, name in enumerate(names[:4]):
        if number == moved:
            intake.move_all()
        intake.add(name, 1)
    audit = OnlineAudit(storage, intake, OrthancClient(lambda *_: Answer(200, b"[]")))
    assert audit.start()
    assert audit.join(60)
    report = audit.state().report
    assert report is not None
    assert (report.waiting_files, report.orphans) == (4, 2)
    assert {finding.attachment_uuid for finding in report.findings} == set(names[4:])


def test_a_restore_finds_what_is_still_in_the_journal(tmp_path: Path) -> None:
    """Deleted a moment ago, by mistake: the worker has not moved it yet."""
    archive = Archive(tmp_path / "archive")
    originals = {}
    for number in range(5):
        content = dicom(1, number)
        archive.store(content)
        originals[f"1.1.{number}"] = content
    archive.store(dicom(2, 0))
    for sop in archive.of(1):
        archive.intake.add(archive.instances.pop(sop), 1)
    assert archive.intake.waiting == 5
    assert archive.service.restore("1.1")
    assert archive.run(200, until=lambda: [each.state for each in archive.service.restores()] == ["done"])
    assert archive.of(1) == sorted(originals)
    for sop, content in originals.items():
        assert archive.storage.read(archive.instances[sop]) == content
    archive.close()


def test_headers_are_waiting_while_something_is_in_the_journal(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "archive")
    archive.store(dicom(1, 0))
    archive.run(20)
    assert not archive.service.headers_waiting()
    archive.intake.add(archive.instances.pop("1.1.0"), 1)
    assert archive.service.headers_waiting()
    archive.close()


def cells(answer: subprocess.CompletedProcess[str]) -> list[str]:
    return [cell.strip() for cell in answer.stdout.splitlines()[3].strip("│").split("│")]


def test_status_and_list_include_the_journal_of_a_process_that_runs(
    run: Run,  # noqa: F811
    path: Path,
    uuids: Uuids,
    remove_in_a_process: Callable[[list[str]], subprocess.Popen[bytes]],
) -> None:
    names = uuids(12)
    moved_and_not(path, names[:5], 5)
    remove_in_a_process(names[5:])
    before = {each: each.read_bytes() for each in journal_folder(path).iterdir()}
    assert cells(run("status", path))[:3] == ["12", "0", "0"]
    listed = run("list", path).stdout
    assert [name for name in names if name in listed] == names
    assert listed.count("in the journal") == 7
    assert listed.index(names[4]) < listed.index(names[5]) < listed.index(names[11]), "oldest first"
    assert sum(name in run("list", path, "--limit", 6).stdout for name in names) == 6
    assert not any(name in run("list", path, "--failed").stdout for name in names)
    assert {each: each.read_bytes() for each in journal_folder(path).iterdir()} == before


def test_status_tells_the_oldest_of_what_is_in_the_journal_only(run: Run, path: Path, uuids: Uuids) -> None:  # noqa: F811
    moved_and_not(path, uuids(3), 0)
    pending, _claimed, _failed, oldest, _paused = cells(run("status", path))
    assert pending == "3"
    assert oldest.startswith("20")


def test_drain_deletes_what_is_in_the_journal(run: Run, storage: FileStorage, path: Path, uuids: Uuids) -> None:  # noqa: F811
    names = uuids(20)
    for name in names:
        storage.create(name, b"12345")
    moved_and_not(path, names[:15], 6)
    answer = run("drain", path, "--storage", storage.root)
    assert (answer.returncode, "15/15" in answer.stdout) == (0, True), answer.stderr
    assert {name for name in names if storage.size(name) is not None} == set(names[15:])
    assert cells(run("status", path))[:3] == ["0", "0", "0"]


@pytest.mark.parametrize("command", ["status", "list", "drain", "audit"])
def test_a_journal_of_a_later_version_is_refused_in_one_line(
    run: Run,  # noqa: F811
    storage: FileStorage,
    path: Path,
    uuids: Uuids,
    command: str,
) -> None:
    index_of(storage.root / "index", [])
    moved_and_not(path, uuids(3), 0)
    segment = make_segment(journal_folder(path), 10**6, b"of anyone at all").path
    content = bytearray(segment.read_bytes())
    content[8:12] = (9).to_bytes(4, "little")
    content[60:64] = zlib.crc32(content[:60]).to_bytes(4, "little")
    segment.write_bytes(content)
    arguments = {"drain": [path, "--storage", storage.root], "audit": [storage.root]}.get(command, [path])
    answer = run(command, *arguments)
    assert (answer.returncode, len(answer.stderr.splitlines())) == (2, 1)
    assert "has version 9: expected 1; a newer version of this bundle" in answer.stderr


@pytest.mark.parametrize("command", ["status", "list"])
def test_what_is_moved_and_its_segment_removed_meanwhile_is_shown_once(
    path: Path, uuids: Uuids, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    """Beside a worker that goes on between what the command line reads first and what it reads then."""
    monkeypatch.setattr(journal, "CAPACITY", 10)
    names = uuids(35)
    with Ledger(path) as ledger:
        intake = Intake(ledger, grace_ms=3_600_000)
        for name in names:
            intake.add(name, 1)

        def goes_on(ledger_path: Path, facts: Mapping[str, str]) -> Iterator[Record]:
            intake.move_all()
            intake.tidy()
            yield from unmoved(ledger_path, facts)

        monkeypatch.setattr(command_line, "unmoved", goes_on)
        assert command_line.main([command, str(path)]) == 0
    shown = capsys.readouterr().out
    if command == "status":
        assert shown.splitlines()[3].strip("│").split("│")[0].strip() == "35"
    else:
        assert [shown.count(name) for name in names] == [1] * 35
