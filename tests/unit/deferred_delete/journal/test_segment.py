"""A segment is a whole file of zeros, or it is not there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import JournalError
from deferred_delete.journal.record import RECORD_BYTES
from deferred_delete.journal.segment import (
    CAPACITY,
    SEGMENT_BYTES,
    VERSION,
    Header,
    make_segment,
    read_header,
    segment_path,
)
from tests.unit.deferred_delete.journal.conftest import IDENTITY


def test_a_new_segment_is_whole_and_empty(folder: Path) -> None:
    segment = make_segment(folder, 42, IDENTITY)
    content = segment.path.read_bytes()
    assert [segment.path] == list(folder.iterdir())
    assert read_header(content) == Header(VERSION, 42, IDENTITY)
    assert content[RECORD_BYTES:] == bytes(SEGMENT_BYTES - RECORD_BYTES)
    assert (segment.first_sequence, segment.used, segment.end, CAPACITY) == (42, 0, 42, 16_383)


def test_a_new_segment_has_all_its_blocks(folder: Path) -> None:
    """A hole would end Orthanc with SIGBUS on a full disk."""
    assert make_segment(folder, 0, IDENTITY).path.stat().st_blocks * 512 >= SEGMENT_BYTES


def test_in_order_of_name_is_in_order_of_time(folder: Path) -> None:
    numbers = [0, 9, 10, 16_383, 99_999_999, 100_000_000, 2**63]
    names = [segment_path(folder, number).name for number in numbers]
    assert sorted(names) == names


def test_any_flipped_bit_of_the_header_is_noticed(folder: Path) -> None:
    header = make_segment(folder, 42, IDENTITY).path.read_bytes()[:RECORD_BYTES]
    for bit in range(8 * RECORD_BYTES):
        flipped = bytearray(header)
        flipped[bit // 8] ^= 1 << bit % 8
        assert read_header(bytes(flipped)) is None, f"bit {bit}"


@pytest.mark.parametrize("length", [0, 1, RECORD_BYTES - 1])
def test_a_header_that_is_cut_is_none(folder: Path, length: int) -> None:
    assert read_header(make_segment(folder, 42, IDENTITY).path.read_bytes()[:length]) is None


def test_a_file_that_is_taken_away_replaced_or_whose_folder_is_gone_is_not_in_place(folder: Path) -> None:
    segment = make_segment(folder, 0, IDENTITY)
    assert segment.in_place
    kept = segment.path.rename(folder / "kept")
    assert not segment.in_place
    shutil.copy(kept, segment.path)
    assert not segment.in_place
    shutil.rmtree(folder)
    assert not segment.in_place


def test_a_full_disk_refuses_a_segment_and_is_left_as_it_was(tmpfs: Callable[[int], Path]) -> None:
    disk = tmpfs(512)
    with pytest.raises(JournalError, match=r"cannot make the segment .* No space left"):
        make_segment(disk / "journal", 0, IDENTITY)
    assert list((disk / "journal").iterdir()) == []


def test_a_read_only_disk_refuses_a_segment(tmpfs: Callable[[int], Path], remount: Callable[[Path, str], None]) -> None:
    disk = tmpfs(4096)
    remount(disk, "ro")
    with pytest.raises(JournalError, match=r"cannot make the segment .* Read-only file system"):
        make_segment(disk / "journal", 0, IDENTITY)


def test_a_file_in_the_folder_s_place_refuses_a_segment(folder: Path) -> None:
    folder.write_text("somebody's notes")
    with pytest.raises(JournalError, match="cannot make the segment"):
        make_segment(folder, 0, IDENTITY)
    assert folder.read_text() == "somebody's notes"


def test_no_mapping_outlives_its_segment(folder: Path) -> None:
    """The mapping is never closed by us: letting it go has to be enough, or memory would grow by 1 MiB each time."""
    for number in range(5):
        make_segment(folder, number, IDENTITY)
    assert str(folder) not in Path("/proc/self/maps").read_text()
