"""Lossy targets: what is lost stays within the bound, and what must not lose anything is kept."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.encaps import generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)

from tests.independent import DCMTK_DECODERS, decoded_by_dcmtk
from tests.unit.transcoder.samples import data_set, image, part10, wheel, wheel_files, with_furniture
from transcoder import Lossy, Outcome, PendingProofs, Reason, Rule, Settings, Transcoder, explain, lossy_codecs
from transcoder.loss import Loss
from transcoder.lossy_codecs import NearLosslessJpegLs
from transcoder.syntaxes import Target

NEAR = Rule(name="near", action="JPEGLSNearLossless", lossy=Lossy(maximum_error=3))
WAVELET = Rule(name="wavelet", action="JPEG2000", lossy=Lossy(maximum_rms_error=6))
BOTH = pytest.mark.parametrize("rule", [NEAR, WAVELET], ids=["near", "wavelet"])


def transcoded(dicom: bytes, rule: Rule = NEAR, **settings: Any) -> Outcome:
    return Transcoder(Settings(rules=(rule,), **settings)).transcode(dicom, "http")


def smooth(
    *, allocated: int = 16, stored: int = 12, signed: bool = False, frames: int = 0, margin: int = 40
) -> NDArray[np.generic]:
    """Waves under seeded noise, which shrink, `margin` of the range away from both of its ends."""
    rng = np.random.default_rng(allocated + stored)
    y, x = np.mgrid[:96, :80]
    full = 1 << stored
    waves = (np.sin(x / 9) + np.cos(y / 7)) / 4 * (full * 0.4) + full / 2
    values = waves + rng.normal(0, max(1, full / 400), (frames or 1, *waves.shape))
    values = np.clip(values, full * margin // 1000, full - 1 - full * margin // 1000)
    if signed:
        values = values - full // 2
    values = values.astype(f"{'i' if signed else 'u'}{allocated // 8}")
    return values if frames else values[0]


def by_pydicom(dicom: bytes) -> NDArray[np.int64]:
    """Decoded by pyjpegls or pylibjpeg-openjpeg."""
    return dcmread(io.BytesIO(dicom)).pixel_array.astype(np.int64)


def native(dicom: bytes) -> NDArray[np.int64]:
    return dcmread(io.BytesIO(dicom)).pixel_array.astype(np.int64)


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
    for found in (by_pydicom(outcome.dicom), native(decoded_by_dcmtk(outcome.dicom, "dcmdjpls"))):
        assert np.abs(found - pixels.astype(np.int64)).max() == near


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
    errors = by_pydicom(outcome.dicom) - pixels
    rms = float(np.sqrt(np.mean(np.square(errors, dtype=np.float64))))
    assert 3 < rms <= 6
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
    for found in (by_pydicom(outcome.dicom), native(decoded_by_dcmtk(outcome.dicom, "dcmdjpls"))):
        assert found.max() <= top
        assert np.abs(found - pixels.astype(np.int64)).max() == 3


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
@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
def test_every_native_syntax_gives_the_same_image(rule: Rule, syntax: str) -> None:
    pixels = smooth()
    ds = data_set(pixels, stored=12)
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = pixels.byteswap().tobytes()
    outcome = transcoded(part10(ds, syntax), rule)
    same = transcoded(part10(data_set(pixels, stored=12)), rule)
    assert outcome.dicom is not None, outcome.detail
    assert same.dicom is not None
    assert dcmread(io.BytesIO(outcome.dicom)).PixelData == dcmread(io.BytesIO(same.dicom)).PixelData


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


def _set(**values: Any) -> Any:
    def change(ds: Dataset) -> None:
        for keyword, value in values.items():
            setattr(ds, keyword, value)

    return change


KEPT = {
    "segmentation": (_set(SOPClassUID=SegmentationStorage), Reason.NOT_AN_IMAGE),
    "label map": (_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.66.7"), Reason.NOT_AN_IMAGE),
    "parametric map": (_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.30"), Reason.NOT_AN_IMAGE),
    "dose": (_set(SOPClassUID="1.2.840.10008.5.1.4.1.1.481.2"), Reason.NOT_AN_IMAGE),
    "shared functional groups": (_set(SharedFunctionalGroupsSequence=[Dataset()]), Reason.FUNCTIONAL_GROUPS),
    "functional groups": (_set(PerFrameFunctionalGroupsSequence=[Dataset()]), Reason.FUNCTIONAL_GROUPS),
    "lossy before": (_set(LossyImageCompression="01"), Reason.ALREADY_LOSSY),
    "a method and no flag": (_set(LossyImageCompressionMethod="ISO_10918_1"), Reason.ALREADY_LOSSY),
    "palette": (_set(PhotometricInterpretation="PALETTE COLOR"), Reason.PHOTOMETRIC),
    "no SOP instance": (lambda ds: ds.__delitem__("SOPInstanceUID"), Reason.ATTRIBUTES),
    "no SOP class": (lambda ds: ds.__delitem__("SOPClassUID"), Reason.ATTRIBUTES),
    "another SOP instance": (_set(SOPInstanceUID="1.2.3.5"), Reason.ATTRIBUTES),
    "a description that is full": (_set(DerivationDescription="x" * 1000), Reason.ATTRIBUTES),
}


@BOTH
@pytest.mark.parametrize("name", KEPT)
def test_what_must_not_lose_anything_is_kept(rule: Rule, name: str) -> None:
    change, reason = KEPT[name]
    ds = data_set(smooth(), stored=12)
    whole = dcmread(io.BytesIO(part10(ds)))
    change(whole)
    out = io.BytesIO()
    whole.save_as(out)
    outcome = transcoded(out.getvalue(), rule)
    assert (outcome.reason, outcome.dicom) == (reason, None), outcome.detail


@BOTH
@pytest.mark.parametrize(
    ("pixels", "stored", "reason"),
    [
        (image(64, 64, allocated=8, samples=3), 8, Reason.PHOTOMETRIC),
        (image(64, 64, allocated=8, stored=1), 1, Reason.BIT_DEPTH),
        (image(64, 64, allocated=8, stored=2), 2, Reason.BIT_DEPTH),  # the bound is more than there is
    ],
)
def test_pixels_that_must_not_lose_anything_are_kept(
    rule: Rule, pixels: NDArray[np.generic], stored: int, reason: Reason
) -> None:
    outcome = transcoded(part10(data_set(pixels, stored=stored)), rule)
    assert outcome.reason is reason, outcome.detail


def test_jpeg_2000_of_eight_bits_in_sixteen_is_kept() -> None:
    assert transcoded(part10(data_set(smooth(stored=8), stored=8)), WAVELET).reason is Reason.BIT_DEPTH


@pytest.mark.parametrize("signed", [False, True])
def test_padding_that_survives_is_no_obstacle_and_padding_that_would_not_is(signed: bool) -> None:
    """In flat areas JPEG-LS repeats the value to the left; where it meets noise, it would not."""
    pixels = smooth(signed=signed)
    padding = -1900 if signed else 60
    ds = data_set(pixels, stored=12)
    ds.add_new(0x00280120, "SS" if signed else "US", padding)
    assert transcoded(part10(ds)).reason is Reason.LOSSY  # none of its pixels is padding
    pixels[40, 40] = padding + 1  # which would become padding, or padding a pixel
    pixels[41:50, 41:50] = padding
    ds = data_set(pixels, stored=12)
    ds.add_new(0x00280120, "SS" if signed else "US", padding)
    assert transcoded(part10(ds)).reason is Reason.PADDING
    ds.add_new(0x00280121, "SS" if signed else "US", padding - 20)
    assert transcoded(part10(ds)).reason is Reason.PADDING
    ds.add_new(0x00280120, "OW", b"\0" * 4)
    assert transcoded(part10(ds)).reason is Reason.ATTRIBUTES


@BOTH
def test_compressed_input_is_kept(rule: Rule) -> None:
    assert transcoded(wheel("JPEG2000.dcm"), rule).reason is Reason.COMPRESSED
    once = transcoded(part10(data_set(smooth(), stored=12)), rule)
    assert once.dicom is not None
    assert transcoded(once.dicom, rule).reason is Reason.COMPRESSED


@BOTH
def test_noise_that_would_grow_is_kept(rule: Rule) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (16, 16), "u1")
    small = Rule(
        action=rule.action,
        lossy=Lossy(maximum_error=1) if rule is NEAR else Lossy(maximum_rms_error=1),
    )
    assert transcoded(part10(data_set(noise)), small).reason is Reason.NOT_SMALLER


@BOTH
def test_it_is_measured_at_once_even_where_proofs_may_wait_and_verify_is_off(rule: Rule) -> None:
    pending = PendingProofs()
    pending.settle()
    transcoder = Transcoder(Settings(rules=(rule,), verify=False), pending)
    outcome = transcoder.transcode(part10(data_set(smooth(), stored=12)), "http")
    assert outcome.reason is Reason.LOSSY
    assert outcome.verify_ns > 0
    assert pending.settle() == ""
    assert [(row.rule, row.reason, row.count) for row in transcoder.counters()] == [(rule.name, Reason.LOSSY, 1)]


@BOTH
def test_a_lying_codec_keeps_the_original_and_warns(
    rule: Rule, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transcoder = Transcoder(Settings(rules=(rule,)))
    honest = lossy_codecs.LossyCodec.decode

    def decode(self: Any, stream: bytes, layout: Any) -> Any:
        values = honest(self, stream, layout)
        values[0, 0] += 4
        values[1, 1] = 1 << 20
        return values

    monkeypatch.setattr(lossy_codecs.LossyCodec, "decode", decode)
    outcome = transcoder.transcode(part10(data_set(smooth(), stored=12)), "http")
    assert (outcome.reason, outcome.dicom) == (Reason.VERIFICATION_FAILED, None)
    assert "verification failed" in caplog.text


def test_an_error_above_the_bound_is_a_failure() -> None:
    codec = NearLosslessJpegLs(Loss(Target.JPEG_LS_NEAR_LOSSLESS, 9))
    codec._near = 2  # as if the library took another number than it was given
    transcoder = Transcoder(Settings(rules=(NEAR,)))
    transcoder._lossy_codecs = dict.fromkeys(transcoder._lossy_codecs, codec)
    outcome = transcoder.transcode(part10(data_set(smooth(), stored=12)), "http")
    assert outcome.reason is Reason.VERIFICATION_FAILED
    assert "an error of 9" in outcome.detail


@BOTH
def test_a_codec_that_raises_keeps_the_original(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    transcoder = Transcoder(Settings(rules=(rule,)))

    def fail(*_: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr(lossy_codecs.LossyCodec, "decode", fail)
    assert transcoder.transcode(part10(data_set(smooth(), stored=12)), "http").reason is Reason.ENCODER_REFUSED


def test_a_missing_codec_stops_the_start_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Loss) -> Any:
        raise ImportError("no module of that name")

    monkeypatch.setitem(lossy_codecs._CODECS, Target.JPEG_2000, missing)
    with pytest.raises(RuntimeError) as caught:
        Transcoder(Settings(rules=(WAVELET,)))
    assert str(caught.value) == ("IngestTranscoder: no working codec for JPEG2000: ImportError: no module of that name")
    Transcoder(Settings(enable=False, rules=(WAVELET,)))


@BOTH
def test_a_dry_run_tells_what_would_be_lost(rule: Rule) -> None:
    dicom = part10(data_set(smooth(), stored=12))
    outcome = transcoded(dicom, rule, dry_run=True)
    assert (outcome.reason, outcome.dicom) == (Reason.DRY_RUN, None)
    assert "largest error" in outcome.detail
    assert outcome.bytes_out < len(dicom)


def test_two_rules_with_bounds_of_their_own() -> None:
    rules = (
        Rule(action="JPEGLSNearLossless", modality="CT", lossy=Lossy(maximum_error=1)),
        Rule(action="JPEGLSNearLossless", lossy=Lossy(maximum_error=9)),
    )
    transcoder = Transcoder(Settings(default="JPEGLSLossless", rules=rules))
    ds = data_set(smooth(), stored=12)
    other = transcoder.transcode(part10(ds), "http")
    ds.Modality = "CT"
    scan = transcoder.transcode(part10(ds), "http")
    assert "MaximumError 9: " in other.detail
    assert "MaximumError 1: " in scan.detail


@BOTH
def test_explain_tells_target_and_loss(rule: Rule) -> None:
    explained = explain(Transcoder(Settings(rules=(rule,))), part10(data_set(smooth(), stored=12)), "http")
    assert explained.outcome == "transcoded with loss"
    assert explained.rules[0].action == rule.action
    assert "became 2.25." in explained.detail


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


def test_dcmtk_s_decoder_of_near_lossless_is_there() -> None:
    assert "dcmdjpls" in DCMTK_DECODERS.values()
