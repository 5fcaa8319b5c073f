"""Streams of the JPEG lossless encoder, read by a library that shares nothing with it."""

from __future__ import annotations

from typing import Any

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transcoder.codecs import lossless_jpeg
from transcoder.codecs.lossless import load
from transcoder.syntaxes import Target

load(Target.JPEG_LOSSLESS_SV1)  # its way of loading the decoder


def patterns(shape: tuple[int, ...], precision: int, kind: str, seed: int) -> Any:
    """An image: noise, small steps that wrap around, the extremes, or one value."""
    random = np.random.default_rng(seed)
    top = (1 << precision) - 1
    pixels = {
        "noise": lambda: random.integers(0, top + 1, shape),
        "steps": lambda: np.cumsum(random.integers(-3, 4, shape), axis=1) & top,
        "extremes": lambda: random.choice([0, top, 1 << (precision - 1)], shape),
        "flat": lambda: np.full(shape, top),
    }[kind]()
    return pixels.astype("u1" if precision <= 8 else "<u2")


SIDES = st.integers(1, 70)


@settings(deadline=None)
@given(
    shape=st.tuples(SIDES, SIDES) | st.tuples(SIDES, SIDES, st.just(3)),
    precision=st.sampled_from([8, 9, 10, 12, 15, 16]),
    kind=st.sampled_from(["noise", "steps", "extremes", "flat"]),
    band=st.sampled_from([63, 500, 32768]),
    seed=st.integers(0, 1000),
)
def test_every_bit_comes_back(shape: tuple[int, ...], precision: int, kind: str, band: int, seed: int) -> None:
    image = patterns(shape, precision, kind, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lossless_jpeg, "_BAND_SAMPLES", band)
        stream = lossless_jpeg.encode(image, precision)
    decoded = imagecodecs.jpeg8_decode(stream)
    assert decoded.dtype == image.dtype
    assert np.array_equal(decoded, image)


def test_the_stream_does_not_depend_on_the_bands() -> None:
    image = patterns((300, 301), 12, "steps", 1)
    whole = lossless_jpeg.encode(image, 12)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lossless_jpeg, "_BAND_SAMPLES", 1001)
        assert lossless_jpeg.encode(image, 12) == whole


def test_the_stream_says_process_14_selection_value_1() -> None:
    stream = lossless_jpeg.encode(patterns((5, 7), 12, "noise", 1), 12)
    assert stream[:4] == b"\xff\xd8\xff\xc3"
    assert stream[6:11] == bytes((12, 0, 5, 0, 7))  # precision, rows, columns
    scan = stream.index(b"\xff\xda")
    assert stream[scan + 7 : scan + 10] == b"\x01\x00\x00"  # Ss: predictor 1; no point transform


def test_it_is_as_small_as_libjpegs() -> None:
    image = patterns((256, 256), 12, "steps", 2)
    library = imagecodecs.jpeg8_encode(image, lossless=True, predictor=1, bitspersample=12)
    assert len(lossless_jpeg.encode(image, 12)) <= len(library) * 1.01


@given(st.lists(st.integers(1, 100_000_000), min_size=3, max_size=17))
def test_code_lengths_leave_the_code_of_ones_free(weights: list[int]) -> None:
    lengths = lossless_jpeg.code_lengths(weights)
    assert sum(2.0**-length for length in lengths) < 1
    assert min(lengths) > 0


def test_codes_are_at_most_16_bits_long_for_the_worst_weights() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 17:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    # What `_huffman` does to counts before it asks: none is rarer than one in 1024.
    for scale in (1, 7, 1000, 10**6):
        counts = [number * scale for number in fibonacci]
        floor = max(1, sum(counts) // 1024)
        assert max(lossless_jpeg.code_lengths([max(count, floor) for count in counts])) <= 16


def test_symbols_that_no_counted_sample_has_are_coded_too() -> None:
    image = np.zeros((64, 64), "<u2")
    image[3, 3], image[10, 11], image[40, 2] = 4095, 2048, 1
    stream = lossless_jpeg.encode(image, 12)
    assert np.array_equal(imagecodecs.jpeg8_decode(stream), image)
