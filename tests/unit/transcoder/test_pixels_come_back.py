"""Every kind of image, through every target, decoded by readers that are not the encoder."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pydicom
import pytest

from tests.support.readers import decoded
from tests.support.samples import SYNTAX, TARGETS, Array, data_set, image, part10, with_furniture
from transcoder import Reason, Settings, Transcoder


@dataclass(frozen=True)
class Case:
    """One image and the attributes that go with it."""

    name: str
    pixels: Array
    stored: int | None = None
    photometric: str | None = None
    planar: int = 0
    frames: int | None = None


def _grey(allocated: int, stored: int, *, signed: bool, rows: int = 37, columns: int = 53) -> Array:
    return image(rows, columns, allocated=allocated, stored=stored, signed=signed)


CASES = [
    # Every depth that scanners write, in its container, with and without a sign.
    *(
        Case(
            f"{'signed' if signed else 'unsigned'} {stored} in {allocated}",
            _grey(allocated, stored, signed=signed),
            stored,
        )
        for allocated, depths in ((8, (2, 6, 7, 8)), (16, (5, 8, 9, 10, 12, 14, 15, 16)))
        for stored in depths
        for signed in (False, True)
    ),
    # Shapes: odd, a single row, a single column, one that no wavelet level divides.
    *(
        Case(
            f"{rows} x {columns}, {allocated} bits",
            _grey(allocated, allocated, signed=False, rows=rows, columns=columns),
        )
        for rows, columns in ((1, 700), (700, 1), (129, 63), (33, 31))
        for allocated in (8, 16)
    ),
    Case("constant", np.full((64, 64), 7, "u2"), 12),
    Case("MONOCHROME1", image(), photometric="MONOCHROME1"),
    Case("palette", image(allocated=8), photometric="PALETTE COLOR"),
    Case("palette of 16 bits", image(), photometric="PALETTE COLOR"),
    Case("multi-frame", np.stack([image(stored=12) + np.uint16(n) for n in range(5)]) & np.uint16(4095), 12, frames=5),
    Case("frames of odd size", np.stack([image(37, 53, allocated=8)] * 3), frames=3),
    Case("one frame that says so", image(), frames=1),
    Case("RGB by pixel", image(allocated=8, samples=3)),
    Case("RGB by plane", image(allocated=8, samples=3), planar=1),
    Case(
        "RGB of 3 x 3 pixels by plane, many frames",
        np.stack([image(3, 3, allocated=8, samples=3)] * 99),
        planar=1,
        frames=99,
    ),
    Case("RGB of 16 bits", image(samples=3)),
    Case("RGB of 12 in 16 bits by plane", image(stored=12, samples=3), 12, planar=1),
    Case("RGB multi-frame by plane", np.stack([image(allocated=8, samples=3)] * 3), planar=1, frames=3),
    Case("YBR_FULL", image(allocated=8, samples=3), photometric="YBR_FULL"),
]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_pixels_are_bit_exact_for_independent_readers(case: Case, target: str) -> None:
    ds = data_set(case.pixels, stored=case.stored, photometric=case.photometric, planar=case.planar, frames=case.frames)
    ds.ImageComments = "x" * 8000 if case.pixels.size < 800 else ""
    original = part10(with_furniture(ds))
    outcome = Transcoder(Settings(default=target)).transcode(original, "http")
    if outcome.reason in (Reason.NOT_SMALLER, Reason.COLOURS):
        pytest.skip(f"nothing to decode: {outcome.reason}")
    assert (outcome.reason, outcome.detail) == (Reason.TRANSCODED, "")
    assert outcome.dicom is not None
    assert outcome.bytes_out == len(outcome.dicom) < len(original) == outcome.bytes_in
    expected = np.ascontiguousarray(case.pixels).tobytes()
    readers = decoded(outcome.dicom, target)
    if not readers:
        pytest.skip("no independent reader of this target is installed")
    for name, raw in readers.items():
        assert raw[: len(expected)] == expected, name


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_else_changes_but_the_syntax_and_the_planar_configuration(target: str) -> None:
    original = part10(with_furniture(data_set(image(allocated=8, samples=3), planar=1)))
    outcome = Transcoder(Settings(default=target)).transcode(original, "http")
    assert outcome.dicom is not None
    before, after = pydicom.dcmread(io.BytesIO(original)), pydicom.dcmread(io.BytesIO(outcome.dicom))
    assert after.file_meta.TransferSyntaxUID == SYNTAX[target] == outcome.target_syntax
    assert after.PlanarConfiguration == 0
    del before.PixelData, after.PixelData, before.PlanarConfiguration, after.PlanarConfiguration
    assert before == after
    del before.file_meta.TransferSyntaxUID, after.file_meta.TransferSyntaxUID
    del before.file_meta.FileMetaInformationGroupLength, after.file_meta.FileMetaInformationGroupLength
    assert before.file_meta == after.file_meta


@pytest.mark.parametrize("target", TARGETS)
def test_bytes_before_and_after_the_pixel_data_are_the_very_same(target: str) -> None:
    original = part10(with_furniture(data_set(image(stored=12), stored=12)))
    outcome = Transcoder(Settings(default=target)).transcode(original, "cstore")
    assert outcome.dicom is not None
    pixels = original.rindex(b"\xe0\x7f\x10\x00OW")
    starts, starts_now = (144 + int.from_bytes(file[140:144], "little") for file in (original, outcome.dicom))
    new_pixels = outcome.dicom.rindex(b"\xe0\x7f\x10\x00OB")
    assert outcome.dicom[starts_now:new_pixels] == original[starts:pixels]
    padding = original[original.rindex(b"\xfc\xff\xfc\xff") :]
    assert outcome.dicom.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0" + padding)


def test_the_basic_offset_table_points_at_every_frame() -> None:
    frames = np.stack([image(21 + 0, 33, allocated=8) // np.uint8(n + 1) for n in range(4)])
    outcome = Transcoder(Settings(default="JPEGLSLossless")).transcode(part10(data_set(frames, frames=4)), "http")
    assert outcome.dicom is not None
    value = bytes(pydicom.dcmread(io.BytesIO(outcome.dicom)).PixelData)
    assert int.from_bytes(value[4:8], "little") == 16
    first = 8 + 16
    for number in range(4):
        offset = int.from_bytes(value[8 + 4 * number : 12 + 4 * number], "little")
        fragment = value[first + offset :]
        assert fragment[:4] == b"\xfe\xff\x00\xe0"
        assert int.from_bytes(fragment[4:8], "little") % 2 == 0
        assert fragment[8:10] == b"\xff\xd8"


@pytest.mark.parametrize("target", TARGETS)
def test_noise_is_kept_because_it_does_not_shrink(target: str) -> None:
    noise = np.random.default_rng(7).integers(0, 1 << 16, (64, 64), "u2")
    outcome = Transcoder(Settings(default=target)).transcode(part10(data_set(noise)), "http")
    assert (outcome.transcoded, outcome.dicom, outcome.reason) == (False, None, Reason.NOT_SMALLER)
    assert outcome.bytes_out == outcome.bytes_in
