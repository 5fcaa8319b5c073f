"""Lossy targets through `Transcoder`: which images are kept, and what is counted, logged and explained."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    SegmentationStorage,
)

from tests.support.lossy_samples import BOTH, NEAR, WAVELET, smooth, transcoded
from tests.support.samples import data_set, image, part10, wheel
from transcoder import Lossy, PendingProofs, Reason, Rule, Settings, Transcoder, explain
from transcoder.lossy import codecs as lossy_codecs
from transcoder.lossy.jpeg_ls import NearLosslessJpegLs
from transcoder.policy.loss import Loss
from transcoder.syntaxes import Target


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
    pending.settle(b"")
    transcoder = Transcoder(Settings(rules=(rule,), verify=False), pending)
    outcome = transcoder.transcode(part10(data_set(smooth(), stored=12)), "http")
    assert outcome.reason is Reason.LOSSY
    assert outcome.verify_ns > 0
    assert pending.settle(b"") == ""
    assert [(row.rule, row.reason, row.count) for row in transcoder.counters()] == [(rule.name, Reason.LOSSY, 1)]


@BOTH
def test_a_lying_codec_keeps_the_original_and_warns(
    rule: Rule, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    transcoder = Transcoder(Settings(rules=(rule,)))
    honest = lossy_codecs.LossyCodec.decode

    def decode(self: Any, stream: bytes, layout: Any) -> Any:
        values = honest(self, stream, layout).copy()
        values[0, 0] += 4
        values[1, 1] = 60000  # of 12 bits
        return values

    monkeypatch.setattr(lossy_codecs.LossyCodec, "decode", decode)
    outcome = transcoder.transcode(part10(data_set(smooth(), stored=12)), "http")
    assert (outcome.reason, outcome.dicom) == (Reason.VERIFICATION_FAILED, None)
    assert "verification failed" in caplog.text


def test_an_error_above_the_bound_is_a_failure() -> None:
    codec = NearLosslessJpegLs(Loss(Target.JPEG_LS_NEAR_LOSSLESS, 9))
    codec._near = 2  # as if the library took another number than it was given
    transcoder = Transcoder(Settings(rules=(NEAR,)))
    transcoder._encoder.lossy_codecs = dict.fromkeys(transcoder._encoder.lossy_codecs, codec)
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
