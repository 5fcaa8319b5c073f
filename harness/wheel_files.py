"""Finds the real DICOM files of pydicom's wheel: most transfer syntaxes, many modalities, some files broken."""

from __future__ import annotations

from pathlib import Path

import pydicom.data
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

FOLDER = Path(pydicom.data.__file__).parent / "test_files"


def all_files() -> list[Path]:
    """Every .dcm file of the wheel, broken ones among them, in a fixed order; nothing is downloaded."""
    return sorted(FOLDER.rglob("*.dcm"))


def image_files() -> list[Path]:
    """The Part 10 files with an image that a server should accept: with SOP Class and Instance UID and pixel data."""
    return [path for path in all_files() if is_image(path)]


def is_image(path: Path) -> bool:
    """Whether a file has what PS3.10 and an image storage class require."""
    try:
        dataset = dcmread(path, stop_before_pixels=False, defer_size=0)
        needed = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Rows", "PixelData")
        return "TransferSyntaxUID" in dataset.file_meta and all(dataset.get(name) for name in needed)
    except (InvalidDicomError, AttributeError, ValueError, TypeError, KeyError, EOFError, NotImplementedError, OSError):
        return False


def transfer_syntax(path: Path) -> str:
    """The name of the file's transfer syntax."""
    return str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID.name)
