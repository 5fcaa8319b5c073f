"""`Transcoder`: outcomes, counters, logs, dry runs, failures and threads."""

from __future__ import annotations

import gc
import logging
import weakref
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from support.rate_limited_log import RateLimitedLog
from tests.support.samples import TARGETS, data_set, element, file_of, image, image_elements, part10, wheel
from transcoder import CounterRow, Reason, Rule, Settings, Transcoder
from transcoder.codecs.jpeg import JpegLs

GOOD = part10(data_set(image(96, 64, stored=12), stored=12))
DEFAULT = "JPEGLSLossless"


def test_an_outcome_says_what_happened_and_what_it_took() -> None:
    outcome = Transcoder(Settings(rules=(Rule(name="all", action=DEFAULT),))).transcode(GOOD, "http")
    assert outcome.transcoded
    assert (outcome.rule, outcome.source_syntax, outcome.target_syntax) == (
        "all",
        "1.2.840.10008.1.2.1",
        "1.2.840.10008.1.2.4.80",
    )
    assert min(outcome.scan_ns, outcome.encode_ns, outcome.verify_ns) > 0


def test_the_origin_reaches_the_rules() -> None:
    transcoder = Transcoder(Settings(rules=(Rule(action=DEFAULT, origin="cstore"),)))
    assert transcoder.transcode(GOOD, "cstore").transcoded
    assert transcoder.transcode(GOOD, "http").reason is Reason.BY_RULE


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (Settings(enable=False, default=DEFAULT), Reason.DISABLED),
        (Settings(), Reason.BY_RULE),
        (Settings(default=DEFAULT, minimum_size_bytes=len(GOOD) + 1), Reason.TOO_SMALL),
        (Settings(default=DEFAULT, minimum_size_bytes=len(GOOD)), Reason.TRANSCODED),
        (Settings(default=DEFAULT, maximum_size_bytes=len(GOOD) - 1), Reason.TOO_LARGE),
        (Settings(default=DEFAULT, maximum_size_bytes=len(GOOD)), Reason.TRANSCODED),
        (Settings(default=DEFAULT, dry_run=True), Reason.DRY_RUN),
        (Settings(default=DEFAULT, verify=False), Reason.TRANSCODED),
    ],
)
def test_settings_decide(settings: Settings, reason: Reason) -> None:
    assert Transcoder(settings).transcode(GOOD, "http").reason is reason


def test_a_dry_run_keeps_the_file_and_tells_what_it_would_have_become() -> None:
    real = Transcoder(Settings(default=DEFAULT)).transcode(GOOD, "http")
    dry = Transcoder(Settings(default=DEFAULT, dry_run=True)).transcode(GOOD, "http")
    assert (dry.transcoded, dry.dicom, dry.bytes_out) == (False, None, real.bytes_out)
    assert dry.bytes_out < dry.bytes_in


def _us(value: int) -> bytes:
    return value.to_bytes(2, "little")


PIXELS = bytes(range(64)) * 64


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, Reason.TRANSCODED),
        ({"PixelData": b""}, Reason.NO_PIXEL_DATA),
        ({"PixelData": element(0x7FE00010, b"OB", b"")}, Reason.NO_PIXEL_DATA),
        ({"PixelData": element(0x7FE00010, b"OB", PIXELS[:-2])}, Reason.PIXEL_LENGTH),
        ({"PixelData": element(0x7FE00010, b"OB", PIXELS + b"\0\0")}, Reason.PIXEL_LENGTH),
        ({"PixelData": element(0x7FE00010, b"UN", PIXELS)}, Reason.MALFORMED),
        ({"PixelData": element(0x7FE00008, b"OF", PIXELS)}, Reason.FLOAT_PIXELS),
        ({"PixelData": element(0x7FE00009, b"OD", PIXELS)}, Reason.FLOAT_PIXELS),
        ({"Rows": b""}, Reason.ATTRIBUTES),
        ({"Rows": element(0x00280010, b"US", _us(0))}, Reason.ATTRIBUTES),
        ({"Rows": element(0x00280010, b"US", _us(64) * 2)}, Reason.ATTRIBUTES),
        ({"Rows": element(0x00280010, b"UL", _us(64) + b"\0\0")}, Reason.ATTRIBUTES),
        (
            {"Rows": element(0x00280010, b"US", _us(65535)), "Columns": element(0x00280011, b"US", _us(65535))},
            Reason.PIXEL_LENGTH,
        ),
        ({"PixelRepresentation": element(0x00280103, b"US", _us(2))}, Reason.ATTRIBUTES),
        ({"PixelRepresentation": b""}, Reason.ATTRIBUTES),
        ({"BitsAllocated": element(0x00280100, b"US", _us(1))}, Reason.BIT_DEPTH),
        ({"BitsAllocated": element(0x00280100, b"US", _us(12))}, Reason.BIT_DEPTH),
        ({"BitsAllocated": element(0x00280100, b"US", _us(32))}, Reason.BIT_DEPTH),
        ({"BitsStored": element(0x00280101, b"US", _us(9))}, Reason.BIT_DEPTH),
        ({"BitsStored": element(0x00280101, b"US", _us(0))}, Reason.BIT_DEPTH),
        ({"HighBit": element(0x00280102, b"US", _us(6))}, Reason.HIGH_BIT),
        ({"HighBit": b""}, Reason.HIGH_BIT),
        (
            {"BitsStored": element(0x00280101, b"US", _us(5)), "HighBit": element(0x00280102, b"US", _us(4))},
            Reason.STRAY_BITS,
        ),
        ({"SamplesPerPixel": element(0x00280002, b"US", _us(3))}, Reason.PHOTOMETRIC),
        ({"SamplesPerPixel": element(0x00280002, b"US", _us(2))}, Reason.PHOTOMETRIC),
        ({"PhotometricInterpretation": element(0x00280004, b"CS", b"RGB ")}, Reason.PHOTOMETRIC),
        ({"PhotometricInterpretation": b""}, Reason.PHOTOMETRIC),
        ({"extra": element(0x7FE00001, b"OV", b"")}, Reason.MALFORMED),
        ({"extra": element(0xFFFAFFFA, b"SQ", b"")}, Reason.DIGITALLY_SIGNED),
    ],
)
def test_every_doubt_has_a_reason_of_its_own(changed: dict[str, bytes], reason: Reason) -> None:
    original = file_of(image_elements(64, 64, PIXELS, **changed))
    outcome = Transcoder(Settings(default=DEFAULT)).transcode(original, "http")
    assert outcome.reason is reason, outcome.detail


@pytest.mark.parametrize(("value", "stray"), [(-2048, False), (2047, False), (2048, True), (-2049, True), (4095, True)])
def test_signed_pixels_must_be_sign_extended(value: int, stray: bool) -> None:
    pixels = np.zeros((64, 64), "i2")
    pixels[5, 5] = value
    outcome = Transcoder(Settings(default=DEFAULT)).transcode(part10(data_set(pixels, stored=12)), "http")
    assert outcome.reason is (Reason.STRAY_BITS if stray else Reason.TRANSCODED)


def test_a_retired_group_length_before_the_pixel_data_counts_the_new_bytes() -> None:
    old = element(0x7FE00010, b"OB", PIXELS)
    length = element(0x7FE00000, b"UL", len(old).to_bytes(4, "little"))
    original = file_of(image_elements(64, 64, PIXELS, PixelData=length + old))
    outcome = Transcoder(Settings(default=DEFAULT)).transcode(original, "http")
    assert outcome.dicom is not None
    at = outcome.dicom.index(length[:8]) + 12
    assert int.from_bytes(outcome.dicom[at - 4 : at], "little") == len(outcome.dicom) - at


class _Failing(JpegLs):
    """A codec that fails in a way of the test's choice."""

    def __init__(self, error: Exception | None = None, decoded: object = None) -> None:
        super().__init__()
        self._failure, self._wrong = error, decoded

    def encode(self, frame: Any, layout: Any) -> bytes:
        if self._failure is not None:
            raise self._failure
        return super().encode(frame, layout)

    def decode(self, stream: bytes, layout: Any) -> Any:
        return super().decode(stream, layout) if self._wrong is None else self._wrong


def _with_codec(codec: JpegLs) -> Transcoder:
    transcoder = Transcoder(Settings(default=DEFAULT))
    for target in transcoder._encoder.codecs:
        transcoder._encoder.codecs[target] = codec
    return transcoder


@pytest.mark.parametrize("error", [ValueError("a\nb"), MemoryError(), RecursionError("deep"), OSError(5, "io")])
def test_an_encoder_that_fails_costs_nothing_but_the_gain(error: Exception) -> None:
    outcome = _with_codec(_Failing(error)).transcode(GOOD, "http")
    assert (outcome.reason, outcome.dicom) == (Reason.ENCODER_REFUSED, None)
    assert outcome.detail.startswith(type(error).__name__)
    assert len(outcome.detail.splitlines()) == 1


@pytest.mark.parametrize(
    "decoded", [np.zeros((96, 64), "u2"), np.zeros((64, 96), "u2"), np.zeros((96, 64), "u1"), b"", 5]
)
def test_a_decoder_that_disagrees_keeps_the_original(decoded: object) -> None:
    outcome = _with_codec(_Failing(decoded=decoded)).transcode(GOOD, "http")
    assert (outcome.reason, outcome.dicom) == (Reason.VERIFICATION_FAILED, None)


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), KeyError("x"), ValueError()])
def test_nothing_is_raised_whatever_breaks(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr("transcoder.reading.read_file_meta", broken)
    outcome = Transcoder(Settings(default=DEFAULT)).transcode(GOOD, "http")
    assert (outcome.reason, outcome.dicom) == (Reason.ERROR, None)
    assert outcome.detail.startswith(type(error).__name__)


def test_a_failure_does_not_hold_on_to_the_file() -> None:
    class Held:
        """What a frame of the failing call refers to."""

    born: list[weakref.ref[Held]] = []

    class Codec(_Failing):
        def encode(self, frame: Any, layout: Any) -> bytes:
            held = Held()
            born.append(weakref.ref(held))
            raise ValueError(f"with {type(held)} in the frame")

    transcoder = _with_codec(Codec())
    gc.collect()
    gc.disable()
    try:
        outcome = transcoder.transcode(GOOD, "http")
        assert outcome.reason is Reason.ENCODER_REFUSED
        assert [ref() for ref in born] == [None]
    finally:
        gc.enable()


def test_counters_add_up_by_rule_and_reason() -> None:
    transcoder = Transcoder(Settings(rules=(Rule(name="grey", samples_per_pixel=1, action=DEFAULT),)))
    outcomes = [transcoder.transcode(GOOD, "http") for _ in range(3)]
    transcoder.transcode(b"", "http")
    transcoder.transcode(wheel("SC_rgb_small_odd.dcm"), "http")
    rows = {(row.rule, row.reason): row for row in transcoder.counters()}
    assert set(rows) == {("grey", Reason.TRANSCODED), ("", Reason.NOT_DICOM), ("Default", Reason.BY_RULE)}
    grey = rows["grey", Reason.TRANSCODED]
    assert (grey.count, grey.bytes_in, grey.bytes_out) == (3, 3 * len(GOOD), 3 * outcomes[0].bytes_out)
    assert grey.total_ns > 0
    assert rows["", Reason.NOT_DICOM] == CounterRow("", Reason.NOT_DICOM, 1, 0, 0, rows["", Reason.NOT_DICOM].total_ns)


def test_a_failure_is_logged_once_and_an_ordinary_file_not_at_all(caplog: pytest.LogCaptureFixture) -> None:
    transcoder = _with_codec(_Failing(ValueError("broken")))
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            transcoder.transcode(GOOD, "http")
            transcoder.transcode(b"not DICOM", "http")
            transcoder.transcode(wheel("MR_small_RLE.dcm"), "http")
    assert [record.getMessage() for record in caplog.records] == [
        "Ingest transcoding: kept: encoder refused: ValueError: broken"
    ]
    assert caplog.records[0].exc_info is None


def test_warnings_of_one_kind_come_once_a_minute_with_a_count(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    transcoder = Transcoder(Settings(default=DEFAULT))
    monkeypatch.setattr(transcoder, "_warnings", RateLimitedLog(lines=1, monotonic=lambda: now[0]))
    monkeypatch.setattr("transcoder.reading.read_file_meta", None)
    for now[0] in (0.0, 1.0, 59.0, 61.0):
        transcoder.transcode(GOOD, "http")
    line = "Ingest transcoding: kept: error: TypeError: 'NoneType' object is not callable"
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [line, f"{line} (2 more lines like this were left out)"]


@pytest.mark.parametrize("target", TARGETS)
def test_four_threads_at_once_make_the_same_files_as_one(target: str) -> None:
    files = [part10(data_set(np.roll(image(160, 130, stored=12), shift, 0), stored=12)) for shift in range(12)]
    transcoder = Transcoder(Settings(default=target))
    alone = [transcoder.transcode(file, "http").dicom for file in files]
    assert None not in alone
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda file: transcoder.transcode(file, "http").dicom, files * 4))
    assert together == alone * 4
    assert sum(row.count for row in transcoder.counters()) == 60
