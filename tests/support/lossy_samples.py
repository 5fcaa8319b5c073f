"""Two lossy rules, and images that become smaller and have no values at the ends of their range."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import dcmread

from transcoder import Lossy, Outcome, Rule, Settings, Transcoder

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
    """Decoded by pylibjpeg-openjpeg, and JPEG-LS by pyjpegls or DCMTK."""
    return dcmread(io.BytesIO(dicom)).pixel_array.astype(np.int64)


def native(dicom: bytes) -> NDArray[np.int64]:
    return dcmread(io.BytesIO(dicom)).pixel_array.astype(np.int64)
