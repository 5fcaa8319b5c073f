"""Journal and ledger as one: a removal is neither forgotten nor done twice, whatever the ledger does meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deferred_delete import Intake, Ledger
from deferred_delete.journal import journal as journal_module
from deferred_delete.ledger import power_loss
from deferred_delete.ledger.place import journal_folder

Uuids = Callable[[int], list[str]]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Only so many records go into a segment."""
    monkeypatch.setattr(journal_module, "CAPACITY", 10)
    return 10


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[[], Intake]]:
    """The same ledger, opened again and again."""
    ledgers: list[Ledger] = []

    def open_it() -> Intake:
        for ledger in ledgers:
            ledger.close()
        ledgers.append(Ledger(tmp_path / "ledger of this site.db", busy_timeout_ms=0))
        return Intake(ledgers[-1])

    yield open_it
    for ledger in ledgers:
        ledger.close()


def segments(intake: Intake) -> list[str]:
    return sorted(path.name for path in journal_folder(intake.ledger.path).glob("*.segment"))


def waiting(intake: Intake) -> set[str]:
    """What the ledger has, and nothing claimed."""
    claims = intake.ledger.claim(10_000_000, intake.ledger.clock.now_ms())
    intake.ledger.release([claim.pending_id for claim in claims])
    return {claim.attachment_uuid for claim in claims}


def test_a_removal_while_the_ledger_is_being_closed_is_found_by_the_next_start(
    opened: Callable[[], Intake], uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc serves requests while it stops: one comes when all had been moved, and the ledger is being synced."""
    early, late = uuids(2)
    intake = opened()
    intake.tidy()
    intake.add(early, 1)
    sync = intake.ledger.sync

    def removed_meanwhile() -> None:
        intake.add(late, 1)
        sync()

    monkeypatch.setattr(intake.ledger, "sync", removed_meanwhile)
    assert intake.close(60)
    assert waiting(opened()) == {early, late}


def test_a_segment_goes_only_when_its_rows_are_synced(
    opened: Callable[[], Intake], few: int, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread, of a restore or a route, moves more while the ledger is being synced."""
    intake = opened()
    for name in uuids(3 * few):
        intake.add(name, 1)
    intake.move()
    assert len(segments(intake)) == 3
    sync = intake.ledger.sync

    def moved_meanwhile() -> None:
        sync()
        intake.move_all()

    monkeypatch.setattr(intake.ledger, "sync", moved_meanwhile)
    intake.tidy()
    assert len([name for name in segments(intake) if int(name[:20]) < 3 * few]) == 2, "the second is not synced"
    monkeypatch.setattr(intake.ledger, "sync", sync)
    intake.tidy()
    assert len([name for name in segments(intake) if int(name[:20]) < 3 * few]) == 1


@pytest.fixture
def boot(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def set_boot(name: str) -> None:
        monkeypatch.setattr(power_loss, "boot_id", lambda: name)

    set_boot("first")
    return set_boot


def suspects(ledger: Ledger) -> list[str]:
    return [attachment for batch in ledger.power_loss.suspects(batch=3) for attachment in batch]


@pytest.mark.parametrize("rebooted", [False, True])
def test_what_is_left_in_the_journal_is_in_doubt_if_the_machine_went_down(
    opened: Callable[[], Intake], boot: Callable[[str], None], uuids: Uuids, *, rebooted: bool
) -> None:
    """Never moved, so the ledger itself has no row of it that could be in doubt."""
    names = uuids(5)
    intake = opened()
    for name in names:
        intake.add(name, 1)
    intake.ledger.close(clean=False)
    if rebooted:
        boot("second")
    ledger = opened().ledger
    assert suspects(ledger) == (names[::-1] if rebooted else [])


@pytest.mark.parametrize("rebooted", [False, True])
def test_what_came_after_the_ledger_was_closed_is_in_doubt_if_the_machine_went_down(
    opened: Callable[[], Intake], boot: Callable[[str], None], uuids: Uuids, *, rebooted: bool
) -> None:
    """Orthanc closes its index after us. With the power cut in between it may know the attachment again."""
    names = uuids(5)
    intake = opened()
    intake.tidy()
    assert intake.close(60)
    intake.ledger.close()
    for name in names:
        intake._journal.append(name, 1, 1_700_000_000_000, 0)
    if rebooted:
        boot("second")
    ledger = opened().ledger
    assert suspects(ledger) == (names[::-1] if rebooted else [])
    boot("third")
    assert suspects(opened().ledger) == (names[::-1] if rebooted else []), "until the index was asked"
