"""Where the ledger is when nobody says where; and that one which is there already is never left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from deferred_delete import LEDGER_NAME, Ledger, LedgerRefusedError
from deferred_delete.ledger.place import ledger_place


def test_a_new_one_is_made_in_the_first_place_and_one_that_is_there_is_taken(tmp_path: Path) -> None:
    index, storage = tmp_path / "index" / LEDGER_NAME, tmp_path / "storage" / LEDGER_NAME
    assert ledger_place(index, storage) == index
    storage.parent.mkdir()
    Ledger(storage).close()
    assert ledger_place(index, storage) == storage
    assert ledger_place(storage, index) == storage


def test_two_are_refused_in_one_line_that_names_both(tmp_path: Path) -> None:
    places = [tmp_path / folder / LEDGER_NAME for folder in ("index", "storage", "elsewhere")]
    for place in places[:2]:
        place.parent.mkdir()
        Ledger(place).close()
    with pytest.raises(LedgerRefusedError) as refused:
        ledger_place(*places)
    line = str(refused.value)
    assert "\n" not in line
    assert str(places[0]) in line
    assert str(places[1]) in line
    assert str(places[2]) not in line
    assert "deferred_delete drain" in line


def test_one_folder_with_two_names_has_one_ledger(tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    (tmp_path / "index").symlink_to(tmp_path / "storage")
    places = [tmp_path / folder / LEDGER_NAME for folder in ("index", "storage")]
    Ledger(places[1]).close()
    assert ledger_place(*places) == places[0]
