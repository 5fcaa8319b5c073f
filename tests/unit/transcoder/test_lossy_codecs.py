"""Errors stay within the bound, as measured by independent decoders: DCMTK's, GDCM's and pydicom's."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.encaps import generate_frames

from tests.support import readers
from tests.support.lossy_samples import BOTH, NEAR, WAVELET, by_pydicom, native, smooth, transcoded
from tests.support.samples import data_set, part10, wheel_files, with_furniture
from transcoder import Lossy, Reason, Rule, Settings, Transcoder
from transcoder.lossy import codecs as lossy_codecs
from transcoder.lossy import errors


def by_all(dicom: bytes, target: str, like: NDArray[np.generic]) -> dict[str, NDArray[np.int64]]:
    """Stored values by every reader there is, in the form of the image that went in."""
    raw = readers.decoded(dicom, target)
    assert {"gdcm", "pydicom"} <= set(raw)
    assert ("dcmtk" in raw) == (target == "JPEGLSNearLossless")
    return {
        name: np.frombuffer(pixels[: like.nbytes], like.dtype).reshape(like.shape).astype(np.int64)
        for name, pixels in raw.items()
    }


LAYOUTS = [
    (8, 8, False),
    (8, 7, False),
    (16, 10, False),
    (16, 12, False),
    (16, 16, False),
    (16, 12, True),
    (16, 16, True),
]


@pytest.mark.parametrize(("allocated", "stored", "signed"), LAYOUTS)
@pytest.mark.parametrize("near", [1, 2, 7])
def test_near_lossless_is_off_by_no_more_than_its_bound_for_decoders_that_are_not_its_encoder(
    allocated: int, stored: int, signed: bool, near: int
) -> None:
    pixels = smooth(allocated=allocated, stored=stored, signed=signed)
    rule = Rule(action="JPEGLSNearLossless", lossy=Lossy(maximum_error=near))
    outcome = transcoded(part10(data_set(pixels, stored=stored)), rule)
    assert outcome.dicom is not None, outcome.detail
    assert outcome.reason is Reason.LOSSY
    stream = next(generate_frames(dcmread(io.BytesIO(outcome.dicom)).PixelData, number_of_frames=1))
    assert stream[stream.index(b"\xff\xda") + 7] == near  # ISO/IEC 14495-1 C.2.3
    for name, found in by_all(outcome.dicom, rule.action, pixels).items():
        assert np.abs(found - pixels.astype(np.int64)).max() == near, name


@pytest.mark.parametrize(("allocated", "stored", "signed"), LAYOUTS)
def test_jpeg_2000_keeps_the_bound_and_is_irreversible(allocated: int, stored: int, signed: bool) -> None:
    pixels = smooth(allocated=allocated, stored=stored, signed=signed)
    outcome = transcoded(part10(data_set(pixels, stored=stored)), WAVELET)
    assert outcome.dicom is not None, outcome.detail
    stream = next(generate_frames(dcmread(io.BytesIO(outcome.dicom)).PixelData, number_of_frames=1))
    cod = stream.index(b"\xff\x52")
    assert stream[cod + 8] == 0  # no multiple component transformation
    assert stream[cod + 13] == 0  # 9-7 irreversible, ISO/IEC 15444-1 table A.20
    assert stream[42] == stored - 1 | (0x80 if signed else 0)
    for name, found in by_all(outcome.dicom, WAVELET.action, pixels).items():
        errors = found - pixels
        rms = float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))
        assert 3 < rms <= 6, name
    assert f"RMS error {rms:.3f} of stored values" in outcome.detail
    assert f"largest error {np.abs(errors).max()}," in outcome.detail


@pytest.mark.parametrize("bound", [1, 1.3, 2, 40])
def test_jpeg_2000_tries_again_until_the_bound_is_kept(bound: float) -> None:
    pixels = smooth(allocated=8, stored=8)
    rule = Rule(action="JPEG2000", lossy=Lossy(maximum_rms_error=bound))
    outcome = transcoded(part10(data_set(pixels)), rule)
    assert outcome.dicom is not None, outcome.detail
    assert float(np.sqrt(np.mean((by_pydicom(outcome.dicom) - pixels) ** 2.0))) <= bound


def test_jpeg_2000_whose_bound_cannot_be_kept_is_kept_as_it_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lossy_codecs.IrreversibleJpeg2000, "_STEPS", ())
    rule = Rule(action="JPEG2000", lossy=Lossy(maximum_rms_error=1))
    # The check at start would say so; here is what an image gets for which one attempt is not enough.
    monkeypatch.setattr(lossy_codecs, "load", lossy_codecs.IrreversibleJpeg2000)
    outcome = transcoded(part10(data_set(smooth(allocated=8, stored=8))), rule)
    assert (outcome.reason, outcome.dicom) == (Reason.BOUND, None)


@pytest.mark.parametrize("stored", [10, 12, 15])
def test_saturated_unsigned_pixels_do_not_come_back_above_bits_stored(stored: int) -> None:
    pixels = smooth(stored=stored)
    top = (1 << stored) - 1
    pixels[20:60, 20:60] = top
    pixels[60:70] = top - 1
    pixels[:10] = 0
    outcome = transcoded(part10(data_set(pixels, stored=stored)))
    assert outcome.dicom is not None, outcome.detail
    for name, found in by_all(outcome.dicom, NEAR.action, pixels).items():
        assert found.max() <= top, name
        assert np.abs(found - pixels.astype(np.int64)).max() == 3, name


def test_few_bits_in_16_at_the_end_of_their_range_are_kept() -> None:
    pixels = smooth(stored=8, allocated=16)
    pixels[5, 5] = 255
    assert transcoded(part10(data_set(pixels, stored=8))).reason is Reason.RANGE


@pytest.mark.parametrize("stored", [12, 16])
@pytest.mark.parametrize("end", ["low", "high"])
def test_signed_pixels_at_the_end_of_their_range_are_kept(stored: int, end: str) -> None:
    pixels = smooth(stored=stored, signed=True)
    half = 1 << (stored - 1)
    pixels[5, 5] = -half + 2 if end == "low" else half - 3
    assert transcoded(part10(data_set(pixels, stored=stored))).reason is Reason.RANGE
    pixels[5, 5] = -half + 3 if end == "low" else half - 4
    assert transcoded(part10(data_set(pixels, stored=stored))).reason is Reason.LOSSY


@BOTH
def test_frames_are_bounded_one_by_one(rule: Rule) -> None:
    pixels = smooth(frames=7)
    pixels[3] = 2000  # a frame that costs nothing must not pay for the others
    outcome = transcoded(part10(data_set(pixels, stored=12, frames=7)), rule)
    assert outcome.dicom is not None, outcome.detail
    errors = by_pydicom(outcome.dicom) - pixels
    bound = 3 if rule is NEAR else 6
    measured = np.abs(errors).max(axis=(1, 2)) if rule is NEAR else np.sqrt(np.mean(errors**2.0, axis=(1, 2)))
    assert measured.max() <= bound


@BOTH
def test_the_same_file_gives_the_same_bytes(rule: Rule) -> None:
    dicom = part10(with_furniture(data_set(smooth(frames=5), stored=12, frames=5)))
    one, other = (transcoded(dicom, rule) for _ in range(2))
    assert one.dicom is not None
    assert one.dicom == other.dicom


@BOTH
def test_whatever_the_wheel_has_is_kept_or_within_the_bound(rule: Rule) -> None:
    transcoder = Transcoder(Settings(rules=(rule,)))
    lost = 0
    for name, path in wheel_files().items():
        dicom = path.read_bytes()
        outcome = transcoder.transcode(dicom, "http")
        assert outcome.reason is not Reason.ERROR, (name, outcome.detail)
        if outcome.dicom is None:
            continue
        lost += 1
        before, after = native(dicom), by_pydicom(outcome.dicom)
        if rule is NEAR:
            assert np.abs(after - before).max() <= 3, name
        else:
            assert float(np.sqrt(np.mean((after - before) ** 2.0))) <= 6, name
        assert len(outcome.dicom) < len(dicom)
    assert lost >= 5


def test_a_large_image_is_measured_whole_though_in_bands(monkeypatch: pytest.MonkeyPatch) -> None:
    dicom = part10(data_set(smooth(frames=3), stored=12, frames=3))
    for rule in (NEAR, WAVELET):
        whole = transcoded(dicom, rule)
        with monkeypatch.context() as patched:
            patched.setattr(errors, "_BAND_SAMPLES", 80 * 7)  # 96 rows are no multiple of it
            banded = transcoded(dicom, rule)
        assert whole.dicom is not None
        assert (banded.dicom, banded.detail) == (whole.dicom, whole.detail)
