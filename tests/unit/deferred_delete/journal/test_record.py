"""A record comes back as it was written, or not at all."""

import struct
import uuid
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferred_delete.journal.record import RECORD_BYTES, Record, decode, encode

SEED, OTHER_SEED = crc32(b"a ledger"), crc32(b"another ledger")
NAME = "01234567-89ab-4def-8123-456789abcdef"

seeds = st.integers(0, 2**32 - 1)
records = st.builds(
    Record,
    st.integers(0, 2**64 - 1),
    st.uuids().map(str),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1).map((10).__mul__),
)


@given(records, seeds)
def test_a_record_comes_back(record: Record, seed: int) -> None:
    slot = encode(record, seed)
    assert len(slot) == RECORD_BYTES
    assert list(decode(slot, seed)) == [record]


def test_the_layout_is_the_one_in_the_docstring() -> None:
    """Bundles of later versions read it."""
    slot = encode(Record(7, NAME, 3, 1_700_000_000_000, 60_000), SEED)
    assert slot[:60] == struct.pack("<QQII36s", 7, 1_700_000_000_000, 3, 6000, NAME.encode())
    assert slot[60:] == struct.pack("<I", crc32(slot[:60], SEED))


@pytest.mark.parametrize("content_type", [-1, 2**32])
def test_a_content_type_beyond_32_bits_is_refused(content_type: int) -> None:
    with pytest.raises(struct.error):
        encode(Record(0, NAME, content_type, 0, 0), SEED)


@pytest.mark.parametrize(("grace_ms", "kept"), [(0, 0), (1, 10), (10, 10), (11, 20), (31_536_000_000, 31_536_000_000)])
def test_a_grace_period_is_rounded_up(grace_ms: int, kept: int) -> None:
    """A file never goes before its time; a year is the most that can be configured."""
    (record,) = decode(encode(Record(0, NAME, 1, 1000, grace_ms), SEED), SEED)
    assert record is not None
    assert (record.grace_ms, record.due_at_ms) == (kept, 1000 + kept)


def test_any_flipped_bit_is_noticed() -> None:
    slot = encode(Record(123_456, NAME, 1, 1_700_000_000_000, 60_000), SEED)
    for bit in range(8 * RECORD_BYTES):
        flipped = bytearray(slot)
        flipped[bit // 8] ^= 1 << bit % 8
        assert list(decode(bytes(flipped), SEED)) == [None], f"bit {bit}"


@given(records, st.integers(1, RECORD_BYTES - 1))
def test_a_record_cut_short_is_no_other_record(record: Record, cut: int) -> None:
    """As a SIGKILL in the middle of the copy may leave it: the rest of the slot is still empty."""
    slot = encode(record, SEED)[:cut].ljust(RECORD_BYTES, b"\0")
    assert set(decode(slot, SEED)) <= {None, record}


@given(records)
def test_a_record_of_another_ledger_is_none(record: Record) -> None:
    assert list(decode(encode(record, OTHER_SEED), SEED)) == [None]


@given(st.lists(st.one_of(records, st.none()), max_size=20))
def test_empty_slots_are_passed_over(slots: list[Record | None]) -> None:
    """Pages reach the disk in any order: after a power cut there may be gaps."""
    content = b"".join(bytes(RECORD_BYTES) if each is None else encode(each, SEED) for each in slots)
    assert list(decode(memoryview(content), SEED)) == [each for each in slots if each is not None]


def test_a_uuid_beyond_ascii_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        encode(Record(0, str(uuid.uuid4())[:-1] + "é", 1, 0, 0), SEED)
