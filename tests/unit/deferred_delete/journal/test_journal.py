"""Records come out as they went in, each once, whatever becomes of the files meanwhile."""

import os
import shutil
import struct
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from deferred_delete import JournalError
from deferred_delete.journal import journal as journal_module
from deferred_delete.journal.journal import SPARES, Journal, count_since
from deferred_delete.journal.leftovers import Leftovers
from deferred_delete.journal.record import Record
from deferred_delete.journal.segment import CAPACITY, SEGMENT_BYTES, Segment
from tests.unit.deferred_delete.journal.conftest import IDENTITY, name_of

Fill = Callable[[Journal, range], list[Record]]
ReadAgain = Callable[..., list[Record]]


@pytest.fixture
def journal(folder: Path) -> Journal:
    return Journal(folder, IDENTITY, 0)


def read_all(journal: Journal, since: int = 0, limit: int = 1000) -> Iterator[Record]:
    while True:
        records, after = journal.read(since, limit)
        if after == since:
            return
        yield from records
        since = after


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def name_from(first_sequence: int) -> str:
    return f"{first_sequence:020d}.segment"


def test_records_are_read_in_order_and_once(journal: Journal, fill: Fill, read_again: ReadAgain) -> None:
    written = fill(journal, range(2500))
    assert list(read_all(journal)) == written
    assert list(read_all(journal, since=2000, limit=7)) == written[2000:]
    assert journal.read(2500, 1000) == ([], 2500)
    assert [count_since(journal.segments, since) for since in (0, 1, 2499, 2500)] == [2500, 2499, 1, 0]
    assert read_again(journal._folder) == written


def test_the_next_segment_begins_after_16_383_records(
    journal: Journal, folder: Path, fill: Fill, read_again: ReadAgain
) -> None:
    written = fill(journal, range(CAPACITY))
    assert names_in(folder) == [name_from(0)]
    written += fill(journal, range(CAPACITY, CAPACITY + 1))
    assert names_in(folder) == [name_from(0), name_from(16_383)]
    assert journal.read(CAPACITY - 1, 1000) == ([written[CAPACITY - 1]], CAPACITY)
    assert list(read_all(journal)) == written
    assert read_again(folder) == written


def test_records_are_read_across_segments(journal: Journal, few: int, fill: Fill, read_again: ReadAgain) -> None:
    written = fill(journal, range(10 * few + 3))
    for limit in (1, few - 1, few, few + 1, 1000):
        assert list(read_all(journal, limit=limit)) == written
    for since in range(len(written) + 1):
        assert list(read_all(journal, since)) == written[since:]
        assert count_since(journal.segments, since) == len(written) - since
        assert read_again(journal._folder, since) == written[since:]


def test_a_journal_goes_on_from_a_number(folder: Path, fill: Fill) -> None:
    journal = Journal(folder, IDENTITY, 500)
    fill(journal, range(3))
    records, after = journal.read(500, 10)
    assert [each.sequence for each in records] == [500, 501, 502]
    assert (after, count_since(journal.segments, 500)) == (503, 3)


def test_empty_segments_of_a_former_run_are_used(folder: Path, few: int, fill: Fill, read_again: ReadAgain) -> None:
    """They need not begin where the ledger's position is."""
    before = Journal(folder, IDENTITY, 0)
    written = fill(before, range(3))
    before.prepare()
    before.start_over(3)
    empty = Leftovers(folder, IDENTITY)
    assert list(empty.records(3)) == []
    journal = Journal(folder, IDENTITY, 3, spares=empty.clear(3))
    assert names_in(folder) == [name_from(few), name_from(2 * few)]
    assert count_since(journal.segments, 3) == 0
    written = fill(journal, range(few, 3 * few + 2))
    assert list(read_all(journal, since=3)) == written
    assert count_since(journal.segments, 3) == len(written)
    assert read_again(folder, 3) == written


def test_an_attachment_is_found_from_its_number_on(journal: Journal, few: int, fill: Fill) -> None:
    fill(journal, range(3 * few + 2))
    for number in (0, few - 1, few, 3 * few + 1):
        assert journal.holds(name_of(number), 0)
        assert journal.holds(name_of(number), number)
        assert not journal.holds(name_of(number), number + 1)
    assert not journal.holds(name_of(3 * few + 2), 0)


def test_a_refused_record_leaves_no_gap(journal: Journal, fill: Fill) -> None:
    first = fill(journal, range(1))
    with pytest.raises(struct.error):
        journal.append(name_of(9), 2**32, 0, 0)
    second = fill(journal, range(1, 2))
    assert list(read_all(journal)) == first + second


def test_segments_are_made_ahead(journal: Journal, folder: Path, few: int, fill: Fill) -> None:
    journal.prepare()
    assert names_in(folder) == [name_from(0), name_from(few), name_from(2 * few)]
    journal.prepare()
    assert len(names_in(folder)) == 1 + SPARES
    fill(journal, range(few + 1))
    assert len(names_in(folder)) == 1 + SPARES, "made ahead, not when needed"
    journal.prepare()
    assert len(names_in(folder)) == 2 + SPARES


def test_only_full_segments_whose_records_are_all_in_the_ledger_are_removed(
    journal: Journal, folder: Path, few: int, fill: Fill
) -> None:
    written = fill(journal, range(3 * few))  # the third one is full, and in use until the next record
    assert journal.retirable_before == few
    journal.retire(few - 1)
    assert len(names_in(folder)) == 3
    journal.retire(2 * few + 5)
    assert names_in(folder) == [name_from(2 * few)]
    assert list(read_all(journal, since=2 * few)) == written[2 * few :]
    journal.retire(3 * few)
    assert names_in(folder) == [name_from(2 * few)]
    fill(journal, range(3 * few, 3 * few + 1))
    journal.retire(3 * few)
    assert names_in(folder) == [name_from(3 * few)]
    assert journal.retirable_before == 0


def test_a_segment_that_cannot_be_removed_is_an_error(
    tmpfs: Callable[[int], Path], remount: Callable[[Path, str], None], few: int, fill: Fill
) -> None:
    disk = tmpfs(8192)
    journal = Journal(disk / "journal", IDENTITY, 0)
    fill(journal, range(few + 1))
    with pytest.MonkeyPatch.context() as patch:

        def refuse(_path: Path, *, missing_ok: bool) -> None:
            raise OSError(30, "Read-only file system")

        patch.setattr(Path, "unlink", refuse)
        with pytest.raises(JournalError, match=r"cannot unlink .*Read-only"):
            journal.retire(few)
    assert journal.retirable_before == 0, "the next start removes it"


def test_starting_over_leaves_empty_files_only(journal: Journal, folder: Path, few: int, fill: Fill) -> None:
    journal.prepare()
    fill(journal, range(few + 3))
    journal.start_over(few + 3)
    (left,) = names_in(folder)
    assert left == name_from(2 * few)
    assert (folder / left).read_bytes()[64:] == bytes(SEGMENT_BYTES - 64)


def test_starting_over_without_an_empty_file_keeps_the_records(
    journal: Journal, folder: Path, fill: Fill, read_again: ReadAgain
) -> None:
    written = fill(journal, range(3))
    journal.start_over(3)
    assert read_again(folder) == written


def test_starting_over_keeps_what_came_meanwhile(journal: Journal, few: int, fill: Fill, read_again: ReadAgain) -> None:
    """Orthanc serves requests while it is being stopped: a removal comes when all had been moved already."""
    journal.prepare()
    fill(journal, range(few + 3))
    came = fill(journal, range(few + 3, few + 4))
    journal.start_over(few + 3)
    assert read_again(journal._folder, few + 3) == came


def test_an_empty_journal_starts_over_with_the_same_file(journal: Journal, folder: Path) -> None:
    journal.prepare()
    before = names_in(folder)
    journal.start_over(0)
    assert names_in(folder) == before


@pytest.mark.parametrize("taken", [0, 1, 2], ids=["in use", "next", "last"])
def test_a_segment_that_is_taken_away_is_noticed_and_nothing_in_memory_is_lost(
    journal: Journal, folder: Path, few: int, fill: Fill, read_again: ReadAgain, taken: int
) -> None:
    journal.prepare()
    written = fill(journal, range(3))
    (folder / name_from(taken * few)).unlink()
    with pytest.raises(JournalError, match=r"was taken away"):
        journal.prepare()
    journal.prepare()
    at_the_next_start = [] if taken == 0 else list(written)
    numbers = range(few, 3 * few + 1) if taken == 0 else range(3, 3 * few + 1)
    later = fill(journal, numbers)
    assert list(read_all(journal)) == written + later
    assert read_again(folder) == at_the_next_start + later


def test_a_folder_that_is_taken_away_is_made_again(
    journal: Journal, folder: Path, few: int, fill: Fill, read_again: ReadAgain
) -> None:
    journal.prepare()
    written = fill(journal, range(3))
    shutil.rmtree(folder)
    with pytest.raises(JournalError, match="was taken away"):
        journal.prepare()
    later = fill(journal, range(few, 2 * few + 2))
    assert list(read_all(journal)) == written + later
    assert read_again(folder) == later
    journal.retire(2 * few)
    assert list(read_all(journal, since=2 * few)) == later[few:]


def test_a_disk_that_does_not_answer_is_one_error(
    journal: Journal, few: int, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.prepare()

    def no_answer(path: Path, **_: Any) -> os.stat_result:
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(Path, "stat", no_answer)
    with pytest.raises(JournalError, match=r"cannot look at .*Input/output error; expected its disk"):
        journal.prepare()
    written = fill(journal, range(3 * few))
    assert list(read_all(journal)) == written


def test_a_full_disk_takes_what_has_room_then_refuses_then_goes_on(
    tmpfs: Callable[[int], Path], few: int, fill: Fill, read_again: ReadAgain
) -> None:
    disk = tmpfs(3500)  # three segments, and no fourth
    journal = Journal(disk / "journal", IDENTITY, 0)
    journal.prepare()
    free = os.statvfs(disk)
    (disk / "filler").write_bytes(bytes(free.f_bavail * free.f_frsize))
    written = fill(journal, range(3 * few))
    for _ in range(3):
        with pytest.raises(JournalError, match=r"cannot make the segment .*No space left"):
            fill(journal, range(3 * few, 3 * few + 1))
        with pytest.raises(JournalError, match=r"cannot make the segment .*No space left"):
            journal.prepare()
    assert list(read_all(journal)) == written
    (disk / "filler").unlink()
    journal.retire(2 * few)
    written += fill(journal, range(3 * few, 4 * few))
    assert list(read_all(journal, since=2 * few)) == written[2 * few :]
    assert read_again(disk / "journal") == written[2 * few :]


def test_each_record_is_synced_if_asked(folder: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of each record, after the record is in it."""
    journal = Journal(folder, IDENTITY, 0, sync=True)
    synced: list[tuple[int, int, bytes]] = []

    class Memory:
        def __init__(self, memory: Any) -> None:
            self._memory = memory

        def __setitem__(self, where: slice, record: bytes) -> None:
            self._memory[where] = record

        def flush(self, start: int, length: int) -> None:
            self._memory.flush(start, length)
            synced.append((start, length, self._memory[start : start + length]))

    monkeypatch.setattr(journal.segments[-1], "memory", Memory(journal.segments[-1].memory))
    fill(journal, range(100))
    assert [start for start, _, _ in synced] == [(number + 1) * 64 // 4096 * 4096 for number in range(100)]
    for number, (_, length, page) in enumerate(synced):
        assert length == 4096
        assert name_of(number).encode() in page


class SlowMaking:
    """In the middle of making a segment, something else happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None]) -> None:
        self._make = journal_module.make_segment
        self._meanwhile = meanwhile
        self.calls = 0
        monkeypatch.setattr(journal_module, "make_segment", self)

    def __call__(self, folder: Path, first_sequence: int, identity: bytes) -> Segment:
        self.calls += 1
        if self.calls == 1:
            self._meanwhile()
        return self._make(folder, first_sequence, identity)


def test_a_burst_while_the_worker_makes_a_segment_does_not_make_it_twice(
    journal: Journal, few: int, fill: Fill, read_again: ReadAgain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two segments with the same numbers: the records of one would never be moved."""
    written: list[Record] = []
    burst = threading.Thread(target=lambda: written.extend(fill(journal, range(2 * few + 5))))

    def meanwhile() -> None:
        burst.start()
        burst.join(0.3)  # it ends only after us, if it waits for us

    SlowMaking(monkeypatch, meanwhile)
    journal.prepare()
    burst.join()
    assert list(read_all(journal)) == written
    assert count_since(journal.segments, 0) == len(written) == 2 * few + 5
    assert read_again(journal._folder) == written


def test_a_burst_goes_on_in_a_spare_segment_while_the_worker_makes_another(
    journal: Journal, few: int, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Orthanc holds the lock of its index in `remove`, and making a segment waits for the disk."""
    journal.prepare()
    written = fill(journal, range(few + 1))  # one of two spare segments is left
    burst = threading.Thread(target=lambda: written.extend(fill(journal, range(few + 1, 2 * few + 5))))
    waited: list[bool] = []

    def meanwhile() -> None:
        burst.start()
        burst.join(10)
        waited.append(burst.is_alive())

    SlowMaking(monkeypatch, meanwhile)
    journal.prepare()
    burst.join()
    assert waited == [False]
    assert list(read_all(journal)) == written


def test_nothing_is_lost_and_nothing_comes_twice_with_eight_threads(
    journal: Journal, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight append, one reads, makes segments and removes them."""
    monkeypatch.setattr(journal_module, "CAPACITY", 500)
    each, moved, failures = 2000, list[Record](), list[Exception]()
    running = threading.Barrier(9)

    def append(thread: int) -> None:
        try:
            running.wait()
            for number in range(thread * each, (thread + 1) * each):
                journal.append(name_of(number), thread, number, 0)
        except Exception as error:  # noqa: BLE001  told below
            failures.append(error)

    threads = [threading.Thread(target=append, args=(thread,)) for thread in range(8)]
    for thread in threads:
        thread.start()
    running.wait()
    position = 0
    while len(moved) < 8 * each and not failures:
        waiting = count_since(journal.segments, position)
        assert 0 <= waiting <= 8 * each - len(moved)
        records, position = journal.read(position, 77)
        moved += records
        journal.prepare()
        journal.retire(position)
    for thread in threads:
        thread.join()
    assert not failures
    assert [record.sequence for record in moved] == list(range(8 * each))
    assert sorted(record.attachment_uuid for record in moved) == sorted(name_of(number) for number in range(8 * each))
    for thread in range(8):  # each thread's in its order
        assert all(a < b for a, b in pairwise(r.requested_at_ms for r in moved if r.content_type == thread))
    assert len(names_in(folder)) <= 2 + SPARES
