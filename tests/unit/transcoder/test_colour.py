"""Colour: what a stream says of it agrees with Photometric Interpretation, and no reader shows other colours than before."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.uid import JPEGLosslessSV1

from harness.orthanc_process import BUNDLE
from tests.independent import PROGRAMS, converted, installed, read
from tests.unit.transcoder.samples import SYNTAX, TARGETS, data_set, part10
from transcoder import Reason, Settings, Transcoder

# DCMTK's viewers by what they decode; it has none for JPEG 2000.
VIEWERS = {"JPEGLosslessSV1": "dcmj2pnm", "JPEGLSLossless": "dcml2pnm", "RLELossless": "dcm2pnm"}
# Some reader would show the result in other colours, whatever the stream said.
KEPT = {("YBR_FULL", "JPEGLSLossless"), ("YBR_FULL", "RLELossless"), ("RGB of 16 bits", "RLELossless")}

Picture = NDArray[np.generic]


@dataclass(frozen=True)
class Colour:
    """One way to say a colour, in one width."""

    photometric: str
    allocated: int = 8
    stored: int = 8
    planar: int = 0


COLOURS = {
    "RGB": Colour("RGB"),
    "RGB by plane": Colour("RGB", planar=1),
    "RGB of 12 bits by plane": Colour("RGB", 16, 12, planar=1),
    "RGB of 16 bits": Colour("RGB", 16, 16),
    "YBR_FULL": Colour("YBR_FULL"),
    "YBR_FULL by plane": Colour("YBR_FULL", planar=1),
    "YBR_FULL of 16 bits": Colour("YBR_FULL", 16, 16),
    "PALETTE COLOR": Colour("PALETTE COLOR"),
    "PALETTE COLOR of 16 bits": Colour("PALETTE COLOR", 16, 16),
}


def picture(stored: int) -> Picture:
    """Patches in which each component takes each of its steps with each of the others'; 96 x 128 x 3."""
    y, x = np.mgrid[:96, :128]
    top = (1 << stored) - 1
    planes = (x // 16 * top // 7, y // 16 * top // 5, (x // 16 + y // 16) % 4 * top // 3)
    return np.stack(planes, axis=-1).astype("u1" if stored <= 8 else "<u2")


@cache
def native(name: str) -> bytes:
    """A native file of one of the colours."""
    colour = COLOURS[name]
    pixels = picture(colour.stored)
    if colour.photometric == "PALETTE COLOR":
        pixels = pixels[..., 0]
    ds = data_set(pixels, stored=colour.stored, photometric=colour.photometric, planar=colour.planar)
    if colour.photometric == "PALETTE COLOR":
        entries = 1 << colour.stored
        for shift, component in enumerate(("Red", "Green", "Blue")):
            table = np.roll(np.arange(entries, dtype="u4") * 65535 // (entries - 1), entries // 3 * shift).astype("<u2")
            setattr(ds, f"{component}PaletteColorLookupTableData", table.tobytes())
    return part10(ds)


@cache
def transcoded(name: str, target: str) -> bytes:
    """The same in the target's syntax."""
    outcome = Transcoder(Settings(default=target)).transcode(native(name), "http")
    assert outcome.dicom is not None, (outcome.reason, outcome.detail)
    return outcome.dicom


def is_kept(name: str, target: str) -> bool:
    colour = COLOURS[name]
    narrow = target in ("JPEGLSLossless", "RLELossless")
    return (colour.photometric == "YBR_FULL" and narrow) or (
        colour.photometric == "RGB" and colour.allocated == 16 and target == "RLELossless"
    )


CASES = [(name, target) for name in COLOURS for target in TARGETS if not is_kept(name, target)]


# --- pydicom ---


DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = {}


def is_available(_uid: str) -> bool:
    """pydicom asks this of a plugin's module."""
    return True


def decode_jpeg_lossless(stream: bytes, _runner: Any) -> bytes:
    """Samples as they lie in the stream, by a decoder that knows no colours: what to make of them is left to pydicom."""
    return bytes(np.asarray(imagecodecs.jpegsof3_decode(stream)).tobytes())


@pytest.fixture(autouse=True)
def _pydicom_reads_jpeg_lossless() -> Iterator[None]:
    """pydicom's own plugins for it are not installed: one is under the GPL, the other ends the process on a bad argument."""
    decoder = get_decoder(JPEGLosslessSV1)
    decoder.add_plugin("test_colour", (__name__, "decode_jpeg_lossless"))
    yield
    decoder.remove_plugin("test_colour")


def shown_by_pydicom(content: bytes) -> Picture:
    """As pydicom would display it: colours converted, palettes applied. It may not warn of a contradiction."""
    ds = read(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            return apply_color_lut(pixel_array(io.BytesIO(content), raw=True), ds)
        return pixel_array(io.BytesIO(content), raw=False)


@pytest.mark.parametrize(("name", "target"), CASES)
def test_pydicom_shows_the_same_colours(name: str, target: str) -> None:
    if name == "YBR_FULL of 16 bits":
        # pydicom converts 8 bits only, and refuses before and after.
        for content in (native(name), transcoded(name, target)):
            with pytest.raises(ValueError, match="8"):
                shown_by_pydicom(content)
        return
    assert np.array_equal(shown_by_pydicom(native(name)), shown_by_pydicom(transcoded(name, target)))
