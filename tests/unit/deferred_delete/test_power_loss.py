"""After the machine went down, deletions recorded just before are in doubt until the index was asked."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import DeferredDelete, Ledger, Settings
from deferred_delete.ledger import power_loss
from deferred_delete.ledger.place import journal_folder
from deferred_delete.ledger.power_loss import SUSPECT_WINDOW_MS
from tests.support.ledgers import enqueue

Uuids = Callable[[int], list[str]]


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_boot(name: str) -> None:
        monkeypatch.setattr(power_loss, "boot_id", lambda: name)

    set_boot("first")
    return set_boot


def _die(ledger: Ledger, path: Path) -> Path:
    """Leaves at ``path`` what a process that died leaves."""
    for suffix in ("", "-wal"):
        shutil.copy(f"{ledger.path}{suffix}", f"{path}{suffix}")
    if journal_folder(ledger.path).exists():
        shutil.copytree(journal_folder(ledger.path), journal_folder(path))
    ledger.close()
    return path


def _suspects(ledger: Ledger) -> list[str]:
    return [attachment for batch in ledger.power_loss.suspects(batch=3) for attachment in batch]


def test_the_newest_rows_are_suspects_newest_first(tmp_path: Path, boot, uuids: Uuids, clock) -> None:
    old, new = uuids(3), uuids(7)
    ledger = Ledger(tmp_path / "a.db", wall=lambda: 1000.0)
    ledger.clock = clock
    ledger.enqueue_many([(attachment, 1) for attachment in old])
    clock.time_ms += SUSPECT_WINDOW_MS + 1
    ledger.enqueue_many([(attachment, 1) for attachment in new])
    copy = _die(ledger, tmp_path / "b.db")
    boot("second")
    with Ledger(copy) as ledger:
        assert ledger.power_loss.suspected
        assert _suspects(ledger) == new[::-1]


@pytest.mark.parametrize(
    ("closed", "rebooted", "suspected"),
    [
        (True, False, False),  # stop and start
        (True, True, False),  # an orderly reboot
        (False, False, False),  # SIGKILL: what Orthanc committed is in the kernel's hands and safe there
        (False, True, True),  # the machine went down
    ],
)
def test_only_the_machine_going_down_under_an_open_ledger_raises_doubt(
    tmp_path: Path, boot, uuids: Uuids, *, closed: bool, rebooted: bool, suspected: bool
) -> None:
    path = tmp_path / "a.db"
    ledger = Ledger(path)
    enqueue(ledger, uuids(1)[0], 1)
    if closed:
        ledger.close()
    else:
        path = _die(ledger, tmp_path / "b.db")
    boot("second" if rebooted else "first")
    with Ledger(path) as ledger:
        assert ledger.power_loss.suspected is suspected
        assert len(_suspects(ledger)) == int(suspected)


def test_an_empty_ledger_has_no_suspects(tmp_path: Path, boot) -> None:
    copy = _die(Ledger(tmp_path / "a.db"), tmp_path / "b.db")
    boot("second")
    with Ledger(copy) as ledger:
        assert not ledger.power_loss.suspected


def test_the_doubt_outlives_restarts_and_grows_with_the_next_power_cut(tmp_path: Path, boot, uuids: Uuids) -> None:
    first, second, third = uuids(3)
    ledger = Ledger(tmp_path / "a.db")
    enqueue(ledger, first, 1)
    _die(ledger, tmp_path / "b.db")
    boot("second")
    Ledger(tmp_path / "b.db").close()
    ledger = Ledger(tmp_path / "b.db")
    assert _suspects(ledger) == [first]
    enqueue(ledger, second, 1)
    assert _suspects(ledger) == [first], "what came after the power cut is in no doubt"
    _die(ledger, tmp_path / "c.db")
    boot("third")
    with Ledger(tmp_path / "c.db") as ledger:
        enqueue(ledger, third, 1)
        assert _suspects(ledger) == [second, first]
        ledger.power_loss.trust()
        assert not ledger.power_loss.suspected
        assert _suspects(ledger) == []
    with Ledger(tmp_path / "c.db") as ledger:
        assert not ledger.power_loss.suspected


def test_what_the_index_knows_is_withdrawn_before_anything_is_unlinked(
    tmp_path: Path, boot, uuids: Uuids, caplog: pytest.LogCaptureFixture
) -> None:
    settings = Settings(grace_period=0)
    alive, dead = uuids(2)
    before = DeferredDelete(tmp_path / "storage", settings, sync=False, ledger_path=tmp_path / "a.db")
    for attachment in (alive, dead):
        before.area.create(attachment, 1, b"x")
        before.area.remove(attachment, 1)
    copy = _die(before.ledger, tmp_path / "b.db")
    boot("second")
    asked: list[str] = []

    def live_ones(attachments) -> list[str]:
        asked.extend(attachments)
        return [attachment for attachment in attachments if attachment == alive]

    after = DeferredDelete(tmp_path / "storage", settings, sync=False, ledger_path=copy, live_ones=live_ones)
    while after.worker.run_once().claimed:
        pass
    assert sorted(asked) == sorted([alive, dead])
    assert after.storage.read(alive) == b"x"
    assert after.storage.size(dead) is None
    assert "of 2 deletions then in the air 1 are withdrawn" in caplog.text
    after.close()


def test_an_index_that_can_not_answer_stops_the_start_and_leaves_the_doubt(tmp_path: Path, boot, uuids: Uuids) -> None:
    ledger = Ledger(tmp_path / "a.db")
    enqueue(ledger, uuids(1)[0], 1)
    copy = _die(ledger, tmp_path / "b.db")
    boot("second")

    def broken(_attachments) -> list[str]:
        raise RuntimeError("index is damaged")

    with pytest.raises(RuntimeError, match="index is damaged"):
        DeferredDelete(tmp_path / "storage", Settings(), sync=False, ledger_path=copy, live_ones=broken)
    with Ledger(copy) as ledger:
        assert ledger.power_loss.suspected


def test_without_anybody_to_ask_the_ledger_is_believed_and_that_is_said(tmp_path: Path, boot, uuids, caplog) -> None:
    ledger = Ledger(tmp_path / "a.db")
    enqueue(ledger, uuids(1)[0], 1)
    copy = _die(ledger, tmp_path / "b.db")
    boot("second")
    service = DeferredDelete(tmp_path / "storage", Settings(), sync=False, ledger_path=copy)
    assert "the machine went down while Orthanc ran" in caplog.text
    assert not service.ledger.power_loss.suspected
    service.close()
