"""Pixels of a DICOM file by a decoder that is not the bundle's encoder: DCMTK's programs, or pydicom with pylibjpeg."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGLossless, JPEGLosslessSV1, JPEGLSLossless

# DCMTK decodes what the bundle encodes with imagecodecs (libjpeg-turbo, CharLS in another version).
DCMTK_DECODERS = {JPEGLossless: "dcmdjpeg", JPEGLosslessSV1: "dcmdjpeg", JPEGLSLossless: "dcmdjpls"}


def read(content: bytes) -> Dataset:
    """Parses a whole file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(content), force=True)


def decoded(content: bytes) -> NDArray[np.generic]:
    """All frames as stored, with no colour conversion and no palette or rescale applied."""
    syntax = read(content).file_meta.TransferSyntaxUID
    program = DCMTK_DECODERS.get(syntax)
    if program is not None:
        content = decoded_by_dcmtk(content, program)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pixel_array(io.BytesIO(content), raw=True)


def decoded_by_dcmtk(content: bytes, program: str) -> bytes:
    """The file that one of DCMTK's decoders writes."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"{program} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.dcm", Path(folder) / "out.dcm"
        source.write_bytes(content)
        # +cn: no colour conversion, where the program has the choice.
        options = ["+cn"] if program == "dcmdjpeg" else []
        done = subprocess.run(
            [path, *options, str(source), str(target)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{program}: {done.stderr.strip()}"
        return target.read_bytes()


# What transcoding may change, besides the pixel data itself: how colour samples lie (PS3.3 C.7.6.3.1.3).
MAY_CHANGE = {"PixelData", "PlanarConfiguration", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"}


def assert_same_elements(sent: bytes, stored: bytes) -> None:
    """Every element but pixel data is what was sent."""
    before, after = read(sent), read(stored)
    differing = {element.tag for element in before} ^ {element.tag for element in after}
    assert not differing, f"elements gone or new: {differing}"
    for element in before:
        # The retired group length of the pixel data's group counts the new bytes.
        if element.keyword not in MAY_CHANGE and element.tag != 0x7FE00000:
            assert after[element.tag].value == element.value, element


def assert_same_pixels(sent: bytes, stored: bytes) -> None:
    """Bit for bit."""
    expected, found = decoded(sent), decoded(stored)
    assert expected.shape == found.shape
    assert np.array_equal(expected, found)
