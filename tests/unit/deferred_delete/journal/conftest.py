"""What the tests of the journal share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete.journal import journal as journal_module
from deferred_delete.journal.journal import Journal
from deferred_delete.journal.leftovers import Leftovers
from deferred_delete.journal.record import Record

IDENTITY = bytes(range(16))
# Records of a segment, where the tests change segments often.
FEW = 10


def name_of(number: int) -> str:
    """An attachment's UUID."""
    return f"{number % 251:02x}{number % 241:02x}0000-0000-4000-8000-{number:012x}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a journal goes; not made yet, and with spaces, as folders of real sites have."""
    return tmp_path / "ledger of this site.db.intake"


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> int:
    """Only so many records go into a segment."""
    monkeypatch.setattr(journal_module, "CAPACITY", FEW)
    return FEW


@pytest.fixture
def fill() -> Callable[[Journal, range], list[Record]]:
    def append(journal: Journal, numbers: range) -> list[Record]:
        for number in numbers:
            journal.append(name_of(number), number % 7, 1_700_000_000_000 + number, 60_000)
        return [Record(number, name_of(number), number % 7, 1_700_000_000_000 + number, 60_000) for number in numbers]

    return append


@pytest.fixture
def read_again() -> Callable[..., list[Record]]:
    """What the next start finds."""

    def read(folder: Path, since: int = 0, identity: bytes = IDENTITY) -> list[Record]:
        return [each for records in Leftovers(folder, identity).records(since) for each in records]

    return read
