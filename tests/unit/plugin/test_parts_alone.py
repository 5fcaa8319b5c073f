"""Each part starts and stops by itself: a failure is one line in the log, and the other parts go on."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from deferred_delete import StudyService
from deferred_delete.errors import LedgerBusyError, LedgerClosedError
from plugin.bundle import Bundle
from plugin.check.rehearsal import RecordingSdk
from plugin.config import parse
from plugin.parts import deletion
from tests.support.ledgers import enqueue

DEADLINE_S = 30.0


@pytest.fixture
def make_bundle(tmp_path: Path) -> Iterator[Callable[..., Bundle]]:
    made: list[Bundle] = []

    def make(**sections: dict[str, Any]) -> Bundle:
        document = {"StorageDirectory": str(tmp_path / "storage"), **sections}
        made.append(Bundle(RecordingSdk(), parse(json.dumps(document), tmp_path)))
        return made[-1]

    yield make
    for bundle in made:
        bundle.stopped()


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object) -> NoReturn:
        raise error

    return fail


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def is_closed(bundle: Bundle) -> bool:
    assert bundle.deletion is not None
    try:
        bundle.deletion.deferred_delete.ledger.counts()
    except LedgerClosedError:
        return True
    return False


def wait_until(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE_S
    while not happened():
        assert time.monotonic() < give_up, "it did not happen in time"
        time.sleep(0.01)


def test_a_part_that_does_not_start_leaves_the_others_alone(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(DicomAssociations={"Outgoing": False}, DeferredDelete={}, StageTiming={})
    monkeypatch.setattr(bundle.associations, "started", raising(RuntimeError("can't start new thread")))
    bundle.started()
    assert bundle.deletion is not None
    assert bundle.deletion.deferred_delete.worker.status().running
    (line,) = errors(caplog)
    assert line.startswith("DicomAssociations did not start: can't start new thread: until the next start ")


def test_a_part_that_does_not_stop_leaves_the_others_alone(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(DicomAssociations={"Outgoing": False}, DeferredDelete={})
    bundle.started()
    assert bundle.associations is not None
    assert bundle.deletion is not None
    with monkeypatch.context() as patched:
        patched.setattr(bundle.associations, "stopped", raising(RuntimeError("no such thread")))
        bundle.stopped()
    assert is_closed(bundle)
    assert errors(caplog) == ["DicomAssociations did not stop properly: no such thread"]


@pytest.mark.parametrize("failing", ["studies.stop", "worker.stop", "storage.stop"])
def test_the_ledger_is_closed_whatever_raised_before(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: str
) -> None:
    bundle = make_bundle(DeferredDelete={})
    bundle.started()
    assert bundle.deletion is not None
    everything = bundle.deletion.deferred_delete
    owner = {"studies": bundle.deletion.studies, "worker": everything.worker, "storage": everything.storage}
    name, method = failing.split(".")
    with monkeypatch.context() as patched:
        patched.setattr(owner[name], method, raising(RuntimeError("no such thread")))
        bundle.stopped()
    assert is_closed(bundle)
    assert errors(caplog) == ["DeferredDelete did not stop properly: no such thread"]
    everything.worker.stop(DEADLINE_S)
    everything.storage.stop(DEADLINE_S)


def test_a_ledger_that_was_not_closed_in_order_is_looked_at_by_the_next_start(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether the header copies that were held are on the disk."""
    bundle = make_bundle(DeferredDelete={})
    bundle.started()
    assert bundle.deletion is not None
    storage = bundle.deletion.deferred_delete.storage
    with monkeypatch.context() as patched:
        patched.setattr(storage, "stop", raising(RuntimeError("no such thread")))
        bundle.stopped()
    storage.stop(DEADLINE_S)
    again = make_bundle(DeferredDelete={})
    assert again.deletion is not None
    assert again.deletion.deferred_delete.ledger.power_loss.unclean


def test_the_worker_starts_without_the_studies_and_these_are_tried_again(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    mended, start = threading.Event(), StudyService.start

    def start_once_mended(service: StudyService) -> None:
        if not mended.is_set():
            raise LedgerBusyError("the ledger is busy")
        start(service)

    monkeypatch.setattr(StudyService, "start", start_once_mended)
    monkeypatch.setattr(deletion, "RETRY_S", (0.01, 0.02))
    bundle = make_bundle(DeferredDelete={})
    assert bundle.deletion is not None
    enqueue(bundle.deletion.deferred_delete.ledger, "5a7d3c1e-0000-4000-8000-000000000001", 1, 3_600_000)
    bundle.started()
    worker = bundle.deletion.deferred_delete.worker
    assert worker.status().running
    # Whether a restore looks for its files is not known: until it is, none may go.
    assert worker.status().waiting_for == "restore"
    mended.set()
    wait_until(lambda: "background deletion and restore of studies have started" in caplog.text)
    wait_until(lambda: worker.status().waiting_for == "grace")
    (line,) = errors(caplog)
    assert line.startswith(
        "DeferredDelete: background deletion and restore of studies did not start: the ledger is busy"
    )


def test_studies_that_never_start_end_with_orthanc(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StudyService, "start", raising(LedgerBusyError("the ledger is busy")))
    bundle = make_bundle(DeferredDelete={})
    bundle.started()
    bundle.stopped()
    assert is_closed(bundle)
    assert not [thread for thread in threading.enumerate() if thread.name == "deferred-delete-start"]


def test_where_no_thread_can_be_started_each_part_says_so_and_the_ledger_is_closed_in_the_end(
    make_bundle: Callable[..., Bundle], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bundle = make_bundle(DicomAssociations={"Outgoing": False}, DeferredDelete={}, StageTiming={})
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
        bundle.started()
    lines = errors(caplog)
    assert [line.partition(" did not start")[0] for line in lines if "until the next start" in line] == [
        "DicomAssociations",
        "DeferredDelete: background deletion and restore of studies",
        "DeferredDelete",
        "StageTiming",
    ]
    assert all("can't start new thread" in line for line in lines)
    bundle.stopped()
    assert is_closed(bundle)
