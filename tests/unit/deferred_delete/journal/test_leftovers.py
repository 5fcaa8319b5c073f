"""What a dead process left: all that can be read is taken, once, and nothing that cannot be is thrown away."""

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deferred_delete import JournalError, Ledger, LedgerRefusedError
from deferred_delete.journal import journal as journal_module
from deferred_delete.journal.journal import Journal
from deferred_delete.journal.leftovers import Leftovers
from deferred_delete.journal.record import RECORD_BYTES, Record
from deferred_delete.journal.segment import DRAFT_SUFFIX, SEGMENT_BYTES, make_segment, segment_path
from deferred_delete.ledger.place import journal_folder
from tests.unit.deferred_delete.journal.conftest import IDENTITY, name_of

Fill = Callable[[Journal, range], list[Record]]


class Crashed(NamedTuple):
    """A ledger whose process died with records in the journal, and no thread to move them."""

    path: Path
    folder: Path
    segment: Path
    written: list[str]

    def tree(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


RECORDS = 40


@pytest.fixture
def crashed(tmp_path: Path, fill: Fill) -> Crashed:
    path = tmp_path / "ledger of this site.db"
    with Ledger(path) as ledger:
        journal = Journal(journal_folder(path), ledger.identity, 0)
        written = [record.attachment_uuid for record in fill(journal, range(RECORDS))]
    return Crashed(path, journal_folder(path), segment_path(journal_folder(path), 0), written)


def pending(path: Path) -> list[str]:
    with sqlite3.connect(path) as ledger:
        found = ledger.execute("SELECT attachment_uuid FROM pending ORDER BY pending_id").fetchall()
    ledger.close()
    return [row[0] for row in found]


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_a_start_records_what_was_left_and_removes_the_file(crashed: Crashed, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        with Ledger(crashed.path) as ledger:
            assert (ledger.counts().pending, ledger.journal_position) == (RECORDS, RECORDS)
    assert pending(crashed.path) == crashed.written
    assert list(crashed.folder.iterdir()) == []
    (line,) = [record.getMessage() for record in caplog.records if "journal" in record.getMessage()]
    assert line == f"40 deletions that the last run left in the journal are in the ledger {crashed.path} now"


def test_what_is_in_the_ledger_already_is_not_recorded_again(crashed: Crashed) -> None:
    """Killed after the ledger's commit and before the segment was removed; meanwhile the files went."""
    kept = crashed.segment.read_bytes()
    with Ledger(crashed.path) as ledger:
        ledger.complete([claim.pending_id for claim in ledger.claim(1000, 10**13)])
    crashed.segment.write_bytes(kept)
    with Ledger(crashed.path) as ledger:
        assert ledger.counts().total == 0
    assert list(crashed.folder.iterdir()) == []


def test_a_start_that_dies_between_two_batches_is_gone_on_with(
    crashed: Crashed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deferred_delete.journal.leftovers._BATCH", 7)
    record, calls = Ledger.record, 0

    def dies(self: Ledger, records: list[Record], position: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise MemoryError
        record(self, records, position)

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "record", dies)
        with pytest.raises(MemoryError):
            Ledger(crashed.path)
    assert pending(crashed.path) == crashed.written[:14]
    with Ledger(crashed.path):
        pass
    assert pending(crashed.path) == crashed.written


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(8 * RECORD_BYTES, 8 * RECORD_BYTES * (RECORDS + 1) - 1))
def test_a_flipped_bit_costs_its_record_alone_and_never_makes_another(
    tmp_path_factory: pytest.TempPathFactory, fill: Fill, bit: int
) -> None:
    folder = tmp_path_factory.mktemp("flipped") / "journal"
    written = fill(Journal(folder, IDENTITY, 0), range(RECORDS))
    path = segment_path(folder, 0)
    flip(path, bit)
    leftovers = Leftovers(folder, IDENTITY)
    found = [each for records in leftovers.records(0) for each in records]
    hit = bit // 8 // RECORD_BYTES - 1
    assert found == written[:hit] + written[hit + 1 :]
    (left,) = leftovers._read
    assert (left.records, left.damaged_slots, left.fault, left.sound) == (RECORDS - 1, 1, "", False)
    assert leftovers.clear(0) == []
    assert [path.name for path in folder.iterdir()] == [f"{path.name}.damaged"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.one_of(st.integers(0, RECORD_BYTES * (RECORDS + 3)), st.integers(0, SEGMENT_BYTES + 1000)))
def test_a_segment_of_any_other_length_is_read_as_far_as_it_goes(
    tmp_path_factory: pytest.TempPathFactory, fill: Fill, length: int
) -> None:
    folder = tmp_path_factory.mktemp("cut") / "journal"
    written = fill(Journal(folder, IDENTITY, 0), range(RECORDS))
    path = segment_path(folder, 0)
    path.write_bytes(path.read_bytes()[:length].ljust(length, b"\0"))
    leftovers = Leftovers(folder, IDENTITY)
    found = [each for records in leftovers.records(0) for each in records]
    assert found == written[: max(length // RECORD_BYTES - 1, 0)]
    (left,) = leftovers._read
    assert left.sound == (length == SEGMENT_BYTES)
    leftovers.clear(0)
    assert path.exists() is False
    assert path.with_name(f"{path.name}.damaged").exists() == (length != SEGMENT_BYTES)


@pytest.mark.parametrize("bit", [0, 8 * 8, 8 * 12, 8 * 16, 8 * 24, 8 * 40, 8 * 60])
def test_with_a_damaged_header_the_records_are_read(
    crashed: Crashed, caplog: pytest.LogCaptureFixture, bit: int
) -> None:
    """One bit of magic, version, record's bytes, first sequence number, identity, zeros, checksum."""
    flip(crashed.segment, bit)
    with Ledger(crashed.path):
        pass
    assert pending(crashed.path) == crashed.written
    assert list(crashed.tree()) == [f"{crashed.segment.name}.damaged"]
    assert "is damaged (its header is damaged): 40 deletions were read, 0 could not be" in caplog.text


def test_a_damaged_file_is_said_in_one_line_and_kept(crashed: Crashed, caplog: pytest.LogCaptureFixture) -> None:
    for number in (3, 5):
        flip(crashed.segment, 8 * RECORD_BYTES * (number + 1))
    before = crashed.segment.read_bytes()
    for _ in range(2):
        with Ledger(crashed.path):
            pass
    assert pending(crashed.path) == crashed.written[:3] + crashed.written[4:5] + crashed.written[6:]
    assert crashed.tree() == {f"{crashed.segment.name}.damaged": before}
    (line,) = [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]
    assert "38 deletions were read, 2 could not be, an audit finds their files; kept as" in line
    assert "\n" not in line


def test_a_second_damaged_file_does_not_take_the_place_of_the_first(crashed: Crashed) -> None:
    """Nothing was read, so the next journal begins with the same number."""
    contents = []
    for text in (b"first", b"second"):
        crashed.segment.write_bytes(text)
        contents.append(text)
        with Ledger(crashed.path):
            pass
    assert sorted(crashed.tree().values()) == contents


def test_a_record_behind_a_gap_is_read(crashed: Crashed) -> None:
    """After a power cut a page may be missing whose successor is there."""
    content = bytearray(crashed.segment.read_bytes())
    content[10 * RECORD_BYTES : 20 * RECORD_BYTES] = bytes(10 * RECORD_BYTES)
    crashed.segment.write_bytes(content)
    with Ledger(crashed.path) as ledger:
        assert ledger.journal_position == RECORDS
    assert pending(crashed.path) == crashed.written[:9] + crashed.written[19:]
    assert list(crashed.folder.iterdir()) == []


def of_another_ledger(folder: Path, records: int) -> Path:
    journal = Journal(folder, b"another ledger's", 7)
    for number in range(records):
        journal.append(name_of(900 + number), 1, 0, 0)
    return segment_path(folder, 7)


def test_segments_of_another_ledger_are_set_aside_and_not_taken(
    crashed: Crashed, caplog: pytest.LogCaptureFixture
) -> None:
    """Copied along with a backup, say: those attachments may be alive."""
    theirs = of_another_ledger(crashed.folder, 5)
    before = theirs.read_bytes()
    for _ in range(2):
        with Ledger(crashed.path):
            pass
    assert pending(crashed.path) == crashed.written
    assert crashed.tree() == {f"{theirs.name}.of-another-ledger": before}
    assert caplog.text.count("is of another ledger: its deletions are not taken, kept as") == 1


def test_records_of_another_ledger_are_not_taken_under_a_damaged_header(
    crashed: Crashed, caplog: pytest.LogCaptureFixture
) -> None:
    flip(of_another_ledger(crashed.folder, 5), 8 * 30)
    with Ledger(crashed.path):
        pass
    assert pending(crashed.path) == crashed.written
    assert "its header is damaged): 0 deletions were read, 5 could not be" in caplog.text


def from_the_future(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[8:12] = (2).to_bytes(4, "little")
    content[60:64] = crc32(content[:60]).to_bytes(4, "little")
    path.write_bytes(content)


@pytest.mark.parametrize("which", ["the only one", "the last one"])
def test_a_segment_of_a_later_version_is_refused_and_nothing_is_changed(
    crashed: Crashed, fill: Fill, which: str
) -> None:
    if which == "the only one":
        from_the_future(crashed.segment)
    else:
        from_the_future(make_segment(crashed.folder, RECORDS, b"of anyone at all").path)
    before = crashed.tree()
    for _ in range(2):
        with pytest.raises(LedgerRefusedError, match=r"has version 2: expected 1; a newer version of this bundle"):
            Ledger(crashed.path)
    assert crashed.tree() == before
    assert pending(crashed.path) == []


def test_what_else_is_in_the_folder_is_left_alone(crashed: Crashed) -> None:
    for name in ("notes.txt", "0.segment.damaged", "0.segment.of-another-ledger"):
        (crashed.folder / name).write_text("somebody's")
    (crashed.folder / "folder").mkdir()
    with Ledger(crashed.path):
        pass
    assert sorted(path.name for path in crashed.folder.iterdir()) == [
        "0.segment.damaged",
        "0.segment.of-another-ledger",
        "folder",
        "notes.txt",
    ]


def test_a_folder_in_a_segment_s_place_stops_the_start_in_one_line(crashed: Crashed) -> None:
    (crashed.folder / "1.segment").mkdir()
    with pytest.raises(JournalError, match=r"cannot read the journal .*Is a directory; expected a folder"):
        Ledger(crashed.path)
    assert pending(crashed.path) == []


def test_a_segment_half_made_is_removed_at_the_next_start(crashed: Crashed) -> None:
    """Killed while it made one: the next is made under another number, so nobody would ever use this one again."""
    (crashed.folder / segment_path(crashed.folder, 16_383).with_suffix(DRAFT_SUFFIX).name).write_bytes(b"x" * 1000)
    with Ledger(crashed.path):
        pass
    assert list(crashed.folder.iterdir()) == []


def test_an_empty_segment_that_lies_before_the_ledger_s_position_is_removed(crashed: Crashed) -> None:
    """Its pages did not reach the disk before the power was cut, and the ledger's rows did. It cannot be used again."""
    whole = crashed.segment.read_bytes()
    with Ledger(crashed.path) as ledger:
        crashed.segment.write_bytes(whole[:RECORD_BYTES].ljust(SEGMENT_BYTES, b"\0"))
    with Ledger(crashed.path) as ledger:
        assert ledger.empty_segments == []
    assert list(crashed.folder.iterdir()) == []


def test_empty_segments_are_given_out_in_order(crashed: Crashed, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "CAPACITY", 5)
    with Ledger(crashed.path) as ledger:
        journal = Journal(crashed.folder, ledger.identity, ledger.journal_position, spares=ledger.empty_segments)
        journal.prepare()
        fill(journal, range(RECORDS, RECORDS + 3))
    with Ledger(crashed.path) as ledger:
        assert [segment.first_sequence for segment in ledger.empty_segments] == [RECORDS + 5, RECORDS + 10]
        assert ledger.counts().pending == RECORDS + 3


def test_an_empty_segment_gets_its_blocks_back(folder: Path) -> None:
    """A copy of the folder may have holes (rsync -S, tar -S): written to on a full disk, one ends Orthanc."""
    path = make_segment(folder, 0, IDENTITY).path
    header = path.read_bytes()[:RECORD_BYTES]
    with path.open("wb") as file:
        file.write(header)
        file.truncate(SEGMENT_BYTES)
    assert path.stat().st_blocks * 512 < SEGMENT_BYTES
    leftovers = Leftovers(folder, IDENTITY)
    assert list(leftovers.records(0)) == []
    (segment,) = leftovers.clear(0)
    assert segment.path.stat().st_blocks * 512 >= SEGMENT_BYTES


def test_nothing_is_made_by_reading_a_journal_that_is_not_there(tmp_path: Path) -> None:
    leftovers = Leftovers(tmp_path / "none", IDENTITY)
    assert list(leftovers.records(0)) == []
    assert leftovers.clear(0) == []
    assert list(tmp_path.iterdir()) == []
