"""python -m deferred_delete, as an operator runs it."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import FileStorage, Ledger
from deferred_delete.studies.dicom_header import Header
from tests.support.ledgers import enqueue

Uuids = Callable[[int], list[str]]


@pytest.fixture
def run(repository: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    def command(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "deferred_delete", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            cwd=repository,
            timeout=60,
        )

    return command


def test_status_counts_while_the_ledger_is_in_use(run, ledger: Ledger, uuids: Uuids) -> None:
    for attachment in uuids(7):
        enqueue(ledger, attachment, 1)
    (claim,) = ledger.claim(1, ledger.clock.now_ms())
    ledger.fail(claim.pending_id, "why", 0)
    ledger.paused = True
    answer = run("status", ledger.path)
    assert answer.returncode == 0, answer.stderr
    cells = [cell.strip() for cell in answer.stdout.splitlines()[3].strip("│").split("│")]
    assert cells[:3] == ["6", "0", "1"]
    assert cells[4] == "yes"


def test_list_shows_whole_lines_and_failed_ones_alone(run, ledger: Ledger, uuids: Uuids) -> None:
    attachments = uuids(5)
    for attachment in attachments:
        enqueue(ledger, attachment, 1)
    (claim,) = ledger.claim(1, ledger.clock.now_ms())
    ledger.fail(claim.pending_id, "cannot unlink: Device or resource busy; expected better", 1)
    ledger.close()
    everything = run("list", ledger.path).stdout
    assert all(attachment in everything for attachment in attachments)
    failed = run("list", ledger.path, "--failed").stdout
    assert "Device or resource busy; expected better" in failed
    assert [attachment for attachment in attachments if attachment in failed] == [claim.attachment_uuid]
    limited = run("list", ledger.path, "--limit", 2).stdout
    assert sum(attachment in limited for attachment in attachments) == 2


def test_drain_finishes_everything_without_orthanc(run, ledger: Ledger, storage: FileStorage, uuids: Uuids) -> None:
    attachments = uuids(2500)
    for attachment in attachments:
        storage.create(attachment, b"x")
    ledger.enqueue_many([(attachment, 1) for attachment in attachments[:2400]], grace_ms=3_600_000)
    ledger.close()
    answer = run("drain", ledger.path, "--storage", storage.root)
    assert answer.returncode == 0, answer.stderr
    assert "2400/2400" in answer.stdout
    assert "0 left, 0 of them failed" in answer.stdout
    left = {path.name for path in storage.root.rglob("*") if path.is_file()}
    assert left == set(attachments[2400:])


def test_drain_leaves_what_is_not_due_if_asked(run, ledger: Ledger, storage: FileStorage, uuids: Uuids) -> None:
    ledger.enqueue_many([(attachment, 1) for attachment in uuids(3)], grace_ms=3_600_000)
    ledger.enqueue_many([(attachment, 1) for attachment in uuids(2)])
    ledger.close()
    answer = run("drain", ledger.path, "--storage", storage.root, "--due")
    assert answer.returncode == 0
    assert "3 left, 0 of them failed" in answer.stdout


def test_drain_tries_each_failing_file_once_and_says_so(
    run, ledger: Ledger, storage: FileStorage, uuids: Uuids
) -> None:
    stubborn, good = uuids(2)
    storage.path_of(stubborn).mkdir(parents=True)  # a folder in its place
    storage.create(good, b"x")
    ledger.enqueue_many([(stubborn, 1), (good, 1)])
    ledger.close()
    answer = run("drain", ledger.path, "--storage", storage.root)
    assert answer.returncode == 1
    assert "1 left, 1 of them failed" in answer.stdout
    assert storage.size(good) is None


def test_drain_is_refused_while_orthanc_runs(run, ledger: Ledger, storage: FileStorage) -> None:
    answer = run("drain", ledger.path, "--storage", storage.root)
    assert answer.returncode == 2
    assert "is in use by process" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["status", "list", "drain"])
def test_a_ledger_that_is_not_there_is_one_line_and_not_made(run, tmp_path: Path, command: str) -> None:
    arguments = ["--storage", tmp_path] if command == "drain" else []
    answer = run(command, tmp_path / "none.db", *arguments)
    assert answer.returncode == 2
    assert len(answer.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["status", "list"])
def test_a_file_that_is_no_ledger_is_one_line(run, tmp_path: Path, command: str) -> None:
    (tmp_path / "notes").write_text("notes " * 1000)
    answer = run(command, tmp_path / "notes")
    assert answer.returncode == 2
    assert "cannot read the ledger" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_drain_does_not_touch_what_a_power_cut_left_in_doubt(run, ledger, storage, uuids: Uuids) -> None:
    enqueue(ledger, uuids(1)[0], 1)
    ledger.power_loss._write(suspect_since="1", suspect_until="1")
    ledger.close()
    answer = run("drain", ledger.path, "--storage", storage.root)
    assert answer.returncode == 2
    assert "start Orthanc once, which sorts them out, or say --unchecked" in answer.stderr
    assert run("drain", ledger.path, "--storage", storage.root, "--unchecked").returncode == 0


def test_drain_leaves_what_a_restore_holds_and_says_so(run, ledger: Ledger, storage: FileStorage, uuids: Uuids) -> None:
    (attachment,) = uuids(1)
    storage.create(attachment, b"x")
    enqueue(ledger, attachment, 1)
    (row,) = ledger.deleted_studies.unread(0, 1)
    ledger.deleted_studies.remember([(*row, 1, Header("1.2", "1.3", "", "", "", "", ""))])
    ledger.restores.request("1.2")
    ledger.restores.hold(ledger.restores.under_way()[0])
    ledger.close()
    answer = run("drain", ledger.path, "--storage", storage.root)
    assert answer.returncode == 1
    assert "1 held by a restore" in answer.stdout
    assert storage.read(attachment) == b"x"
