"""Reads DICOM files with independent programs: DCMTK's, GDCM's, David Clunie's dciodvfy, pydicom with pylibjpeg."""

from __future__ import annotations

import io
import os
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
from pydicom.uid import (
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

# DCMTK decodes what the bundle encodes with imagecodecs (libjpeg-turbo, CharLS in another version).
DCMTK_DECODERS = {JPEGLossless: "dcmdjpeg", JPEGLosslessSV1: "dcmdjpeg", JPEGLSLossless: "dcmdjpls"}


# Each reads a file that is native, or compressed in one of these syntaxes, and writes a native one. DCMTK and GDCM 3.0
# know no HTJ2K.
PROGRAMS: dict[str, tuple[list[str], ...]] = {
    JPEGLosslessSV1: (["dcmdjpeg", "+cn"], ["gdcmconv", "--raw"]),
    JPEGLSLossless: (["dcmdjpls"], ["gdcmconv", "--raw"]),
    JPEG2000Lossless: (["gdcmconv", "--raw"],),
    RLELossless: (["dcmdrle"], ["gdcmconv", "--raw"]),
}


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
    # +cn: no colour conversion, where the program has the choice.
    return converted(content, [program, *(["+cn"] if program == "dcmdjpeg" else [])])


def installed(program: str) -> str:
    """The path of a program; where it is missing the test is skipped on a developer's machine, and fails in CI."""
    path = shutil.which(program)
    if path is not None:
        return path
    reason = f"{program} is not installed: run 'make setup-dev'"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def converted(content: bytes, command: list[str]) -> bytes:
    """The file that a program makes of another."""
    path = installed(command[0])
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.dcm", Path(folder) / "out.dcm"
        source.write_bytes(content)
        done = subprocess.run(
            [path, *command[1:], str(source), str(target)], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, f"{command[0]}: {done.stderr.strip()}"
        return target.read_bytes()


def complaints(content: bytes) -> set[str]:
    """The errors that dciodvfy finds in a file, held against its information object and value representations.

    It knows no HTJ2K and, as it decodes no pixels, is told that this is JPEG 2000.
    """
    path = installed("dciodvfy")
    for unknown in (HTJ2KLossless, HTJ2KLosslessRPCL):
        content = content.replace(unknown.encode() + b"\0", JPEG2000Lossless.encode() + b"\0\0", 1)
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(content)
        file.flush()
        done = subprocess.run([path, file.name], capture_output=True, timeout=60, check=False)
    lines = (done.stderr + done.stdout).decode("ascii", "replace").splitlines()
    return {line for line in lines if line.startswith("Error")}


# What transcoding may change, besides the pixel data itself: how colour samples lie (PS3.3 C.7.6.3.1.3).
MAY_CHANGE = {"PixelData", "PlanarConfiguration", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"}


def assert_same_elements(sent: bytes, stored: bytes) -> None:
    """Every element but pixel data is what was sent."""
    before, after = read(sent), read(stored)
    differing = {element.tag for element in before} ^ {element.tag for element in after}
    assert not differing, f"elements gone or new: {differing}"
    implicit = before.file_meta.get("TransferSyntaxUID") == ImplicitVRLittleEndian
    for element in before:
        # Retired group lengths count the bytes of a group: explicit headers are longer, and the pixel data is another.
        if element.tag.elem == 0 and (implicit or element.tag.group == 0x7FE0):
            continue
        if element.keyword not in MAY_CHANGE:
            assert after[element.tag].value == element.value, element


def assert_same_pixels(sent: bytes, stored: bytes) -> None:
    """Bit for bit."""
    expected, found = decoded(sent), decoded(stored)
    assert expected.shape == found.shape
    assert np.array_equal(expected, found)
