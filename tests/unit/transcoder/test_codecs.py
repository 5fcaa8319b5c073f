"""The code streams themselves: what their headers must say, and that a codec that fails is found at start."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from tests.support.samples import TARGETS, Array, data_set, image, part10
from transcoder import Reason, Settings, Transcoder
from transcoder.codecs import lossless as codecs
from transcoder.codecs.lossless import load
from transcoder.input.pixels import Layout
from transcoder.syntaxes import TARGETS_BY_KEYWORD, Target


def _stream(pixels: Array, target: str, stored: int | None = None) -> bytes:
    ds = data_set(pixels, stored=stored)
    outcome = Transcoder(Settings(default=target)).transcode(part10(ds), "http")
    assert outcome.dicom is not None, outcome.detail
    return next(generate_frames(pydicom.dcmread(io.BytesIO(outcome.dicom)).PixelData, number_of_frames=1))


def _segment(stream: bytes, marker: bytes) -> bytes:
    """The content of the first marker segment of a kind (ISO/IEC 10918-1 B.1.1.4)."""
    at = stream.index(marker)
    return stream[at + 4 : at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")]


@pytest.mark.parametrize(
    ("allocated", "stored", "signed", "precision"),
    [
        (8, 8, False, 8),
        (8, 6, False, 6),
        (16, 12, False, 12),
        (16, 8, False, 16),  # 16-bit samples start at 9
        (16, 16, False, 16),
        (16, 12, True, 16),  # the sign bits have to come back
        (16, 16, True, 16),
        (8, 7, True, 8),
    ],
)
def test_jpeg_lossless_is_selection_value_1_with_this_precision(
    allocated: int, stored: int, signed: bool, precision: int
) -> None:
    stream = _stream(image(allocated=allocated, stored=stored, signed=signed), "JPEGLosslessSV1", stored)
    assert _segment(stream, b"\xff\xc3")[0] == precision
    selection, _, approximation = _segment(stream, b"\xff\xda")[-3:]
    assert (selection, approximation) == (1, 0)


def test_jpeg_ls_starts_with_its_frame_header_and_is_lossless() -> None:
    stream = _stream(image(stored=12), "JPEGLSLossless", 12)
    assert stream[:4] == b"\xff\xd8\xff\xf7"
    assert _segment(stream, b"\xff\xda")[-3] == 0  # NEAR


@pytest.mark.parametrize("target", ["JPEG2000Lossless", "HTJ2KLossless"])
@pytest.mark.parametrize(
    ("allocated", "stored", "signed", "size"),
    [
        (8, 8, False, 7),
        (8, 6, False, 5),
        (8, 7, True, 0x80 | 6),
        (16, 12, False, 11),
        (16, 12, True, 0x80 | 11),
        (16, 16, True, 0x80 | 15),
        (16, 9, False, 8),
        (16, 8, False, 15),  # readers size their samples by it
    ],
)
def test_jpeg_2000_declares_bits_stored_and_sign(
    allocated: int, stored: int, signed: bool, size: int, target: str
) -> None:
    pixels = image(96, 64, allocated=allocated, stored=stored, signed=signed)
    assert _stream(pixels, target, stored)[42] == size


@pytest.mark.parametrize("target", ["JPEG2000Lossless", "HTJ2KLossless"])
def test_jpeg_2000_colour_is_reversible(target: str) -> None:
    cod = _segment(_stream(image(96, 64, allocated=8, samples=3), target), b"\xff\x52")
    assert cod[9] == 1  # 5-3, ISO/IEC 15444-1 table A.20


def test_no_lossless_target_is_left_out_of_these_tests() -> None:
    assert set(TARGETS) == set(TARGETS_BY_KEYWORD)


@pytest.mark.parametrize("target", TARGETS)
def test_noise_larger_than_any_buffer_does_not_refuse(target: str) -> None:
    noise = np.random.default_rng(3).integers(0, 1 << 16, (256, 256), "u2")
    assert Transcoder(Settings(default=target)).transcode(part10(data_set(noise)), "http").reason is Reason.NOT_SMALLER


@pytest.mark.parametrize("target", TARGETS)
def test_a_missing_codec_stops_the_start_with_one_line(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> codecs.Codec:
        raise ImportError("no module of that name")

    monkeypatch.setitem(codecs._CODECS, TARGETS_BY_KEYWORD[target], missing)
    with pytest.raises(RuntimeError) as caught:
        Transcoder(Settings(default=target))
    assert str(caught.value) == (
        f"IngestTranscoder: no working codec for {target}: ImportError: no module of that name"
    )
    Transcoder(Settings(default=target, enable=False))
    Transcoder(Settings())  # not asked for, not loaded


@pytest.mark.parametrize(
    ("rows", "columns", "halvings"), [(40, 4000, 5), (2048, 2048, 5), (2049, 3000, 6), (4500, 4200, 7)]
)
def test_rpcl_streams_have_what_the_standard_asks(rows: int, columns: int, halvings: int) -> None:
    """PS3.5 10.18: RPCL, tile-part lengths, a lowest resolution no wider or no higher than 64."""
    layout = Layout(rows, columns, 1, 1, 8, 8, signed=False, planar=False, photometric="MONOCHROME2")
    stream = load(Target.HTJ2K_LOSSLESS_RPCL).encode(np.zeros((rows, columns), "u1"), layout)
    cod = stream.index(b"\xff\x52")
    assert stream[cod + 5] == 2
    assert stream[cod + 9] == halvings
    assert -(-min(rows, columns) >> halvings) <= 64
    assert b"\xff\x55" in stream[: stream.index(b"\xff\x90")]


def test_a_stream_that_is_not_rpcl_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(16, 16, 1, 1, 8, 8, signed=False, planar=False, photometric="MONOCHROME2")
    codec = load(Target.HTJ2K_LOSSLESS_RPCL)
    good = codec.encode(np.zeros((16, 16), "u1"), layout)
    at = good.index(b"\xff\x52") + 5
    for stream in (good[:at] + b"\0" + good[at + 1 :], good[:40] + bytes(100)):
        monkeypatch.setattr(codec, "_encoded", lambda *_, stream=stream, **__: stream)
        with pytest.raises(ValueError, match="HTJ2K"):
            codec.encode(np.zeros((16, 16), "u1"), layout)
