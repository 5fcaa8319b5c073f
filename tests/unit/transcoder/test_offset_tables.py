"""Basic and extended offset tables; those too large for memory are tested with fragments that only claim their size."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pydicom
import pytest
from pydicom.encaps import get_frame
from pydicom.pixels import pixel_array

from tests.support.samples import data_set, image, part10
from transcoder import Settings, Transcoder
from transcoder.outcome import KeptError, Reason
from transcoder.output import splice


class Claims:
    """A fragment that is as long as it says, and nowhere in memory."""

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


def pieces_of(*sizes: int) -> list[Any]:
    return splice.encapsulated(cast("Sequence[bytes]", [Claims(size) for size in sizes]))


def test_offsets_of_32_bits_go_into_the_basic_table() -> None:
    assert pieces_of(3, 5, 7)[2] == struct.pack("<3L", 0, 12, 26)
    assert pieces_of(2**31, 2**31 - 24, 8)[2] == struct.pack("<3L", 0, 2**31 + 8, 2**32 - 8)


def test_larger_ones_go_into_an_extended_table_and_the_basic_one_is_empty() -> None:
    half = 2**31
    pieces = pieces_of(half, half - 1, half, 9)
    extended = struct.pack("<HH2sHL", 0x7FE0, 0x0001, b"OV", 0, 32)
    lengths = struct.pack("<HH2sHL", 0x7FE0, 0x0002, b"OV", 0, 32)
    assert pieces[:4] == [
        extended,
        struct.pack("<4Q", 0, half + 8, 2 * half + 16, 3 * half + 24),
        lengths,
        struct.pack("<4Q", half, half, half, 10),
    ]
    assert pieces[5] == struct.pack("<HHL", 0xFFFE, 0xE000, 0)


def test_a_frame_that_no_item_can_hold_is_kept() -> None:
    with pytest.raises(KeptError) as caught:
        pieces_of(1, 2**32 - 1)
    assert caught.value.reason is Reason.OFFSET_TABLE


def test_an_extended_table_is_read_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit lowered, so that a small file needs one."""
    monkeypatch.setattr(splice, "_MAX_OFFSET", 100)
    frames = np.stack([image(64, 64, allocated=8) // divisor for divisor in (1, 2, 3)])
    dicom = part10(data_set(frames, frames=3))
    outcome = Transcoder(Settings(default="JPEGLSLossless")).transcode(dicom, "http")
    assert outcome.dicom is not None, outcome.detail
    ds = pydicom.dcmread(io.BytesIO(outcome.dicom))
    tables = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    for number in range(3):
        assert get_frame(ds.PixelData, number, extended_offsets=tables)[:2] == b"\xff\xd8"
    assert np.array_equal(pixel_array(ds), frames)
