"""Every file of pydicom's wheel, for every target: kept with a reason, or bit-exact with all else unchanged."""

from __future__ import annotations

import io

import pydicom
import pytest

from tests.support.readers import complaints_of_dcmtk, decoded
from tests.support.samples import SYNTAX, TARGETS, wheel_files
from transcoder import Reason, Settings, Transcoder

EXPECTED = {
    # One file for each reason, so that a reason that vanishes or swallows others is seen.
    "CT_small.dcm": Reason.TRANSCODED,
    "MR_small_implicit.dcm": Reason.TRANSCODED,
    "SC_rgb_jpeg_dcmd.dcm": Reason.TRANSCODED,
    "examples_overlay.dcm": Reason.TRANSCODED,
    "examples_palette.dcm": Reason.TRANSCODED,
    "examples_rgb_color.dcm": Reason.TRANSCODED,
    "MR_small_bigendian.dcm": Reason.TRANSCODED,
    "MR_small_padded.dcm": Reason.PIXEL_LENGTH,
    "MR_truncated.dcm": Reason.MALFORMED,
    "MR_small_RLE.dcm": Reason.COMPRESSED,
    "SC_ybr_full_422_uncompressed.dcm": Reason.PHOTOMETRIC,
    "badVR.dcm": Reason.ATTRIBUTES,
    "liver_1frame.dcm": Reason.BIT_DEPTH,
    "rtdose.dcm": Reason.BIT_DEPTH,
    "no_meta.dcm": Reason.NOT_DICOM,
    "no_meta_group_length.dcm": Reason.MALFORMED_META,
    "meta_missing_tsyntax.dcm": Reason.MALFORMED_META,
    "dicomdirtests/DICOMDIR": Reason.DICOMDIR,
    "dicomdirtests/DICOMDIR-implicit": Reason.DICOMDIR,
    "waveform_ecg.dcm": Reason.NO_PIXEL_DATA,
    "test-SR.dcm": Reason.NO_PIXEL_DATA,
    "zipMR.gz": Reason.NOT_DICOM,
}


@pytest.mark.parametrize(("name", "reason"), EXPECTED.items())
def test_known_files_end_as_expected(name: str, reason: Reason) -> None:
    outcome = Transcoder(Settings(default="JPEGLSLossless")).transcode(
        wheel_files()[f"test_files/{name}"].read_bytes(), "http"
    )
    assert outcome.reason is reason, outcome.detail


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_is_kept_with_a_reason_or_comes_back_bit_exact(target: str) -> None:
    transcoder = Transcoder(Settings(default=target))
    transcoded = 0
    for name, path in wheel_files().items():
        original = path.read_bytes()
        outcome = transcoder.transcode(original, "http")
        unexpected = {Reason.ERROR, Reason.ENCODER_REFUSED, Reason.VERIFICATION_FAILED, Reason.CONVERSION}
        assert outcome.reason not in unexpected, (name, outcome.detail)
        if outcome.dicom is None:
            assert str(outcome.reason).startswith("kept: "), name
            continue
        transcoded += 1
        assert_same_image(original, outcome.dicom, target, name)
        complaints = complaints_of_dcmtk(outcome.dicom)
        assert not complaints or complaints == complaints_of_dcmtk(original), name
    assert transcoded > 40


def assert_same_image(original: bytes, new: bytes, target: str, name: str) -> None:
    before, after = pydicom.dcmread(io.BytesIO(original)), pydicom.dcmread(io.BytesIO(new))
    assert after.file_meta.TransferSyntaxUID == SYNTAX[target]
    expected = bytes(before.PixelData)
    if getattr(before, "PlanarConfiguration", 0) == 1 or not before.original_encoding[1]:
        pixels = before.pixel_array
        expected = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    for reader, raw in decoded(new, target).items():
        assert raw[: len(expected)] == expected, (name, reader)
    for ds in (before, after):
        del ds.PixelData
        ds.pop("PlanarConfiguration", None)
        ds.pop(0x7FE00000, None)  # the retired group length counts the new pixel data
    assert [elem.tag for elem in before] == [elem.tag for elem in after], name
    # UN where the implicit file had no VR: compare what pydicom makes of the values.
    for old, fresh in zip(before, after, strict=True):
        assert old.value == fresh.value or (old.VR != fresh.VR and fresh.VR == "UN"), (name, old, fresh)
