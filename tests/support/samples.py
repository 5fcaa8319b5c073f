"""DICOM files for tests of the transcoder: the wheel's, generated images, and raw elements put together by hand."""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

TARGETS = ("JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless", "HTJ2KLossless", "HTJ2KLosslessRPCL", "RLELossless")
SYNTAX = {
    "JPEGLosslessSV1": "1.2.840.10008.1.2.4.70",
    "JPEGLSLossless": "1.2.840.10008.1.2.4.80",
    "JPEG2000Lossless": "1.2.840.10008.1.2.4.90",
    "HTJ2KLossless": "1.2.840.10008.1.2.4.201",
    "HTJ2KLosslessRPCL": "1.2.840.10008.1.2.4.202",
    "RLELossless": "1.2.840.10008.1.2.5",
}
UNDEFINED = 0xFFFFFFFF

Array = NDArray[np.generic]


@cache
def wheel_files() -> dict[str, Path]:
    """Every file that pydicom's wheel ships below its data folder, whatever it is; nothing is downloaded."""
    root = Path(pydicom.__file__).parent / "data"
    found = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"})
    return {str(path.relative_to(root)): path for path in found}


def wheel(name: str) -> bytes:
    """The bytes of one of the wheel's test files."""
    return wheel_files()[f"test_files/{name}"].read_bytes()


def image(
    rows: int = 37,
    columns: int = 53,
    *,
    allocated: int = 16,
    stored: int | None = None,
    signed: bool = False,
    samples: int = 1,
) -> Array:
    """Flat patches, which even RLE shrinks, and a corner of seeded noise; both ends of the range are reached."""
    stored = stored or allocated
    rng = np.random.default_rng(rows * columns + stored)
    y, x = np.mgrid[:rows, :columns]
    full = 1 << stored
    values = (x // 16 * 37 + y // 16 * 91) * 16 * (full - 1) // max(1, 37 * columns + 91 * rows) % full
    noisy = (x < columns // 4) & (y < rows // 4)
    values = np.where(noisy, rng.integers(0, full, (rows, columns)), values)
    if samples == 3:
        values = np.stack([values, (values * 3 + 5) % full, full - 1 - values], axis=-1)
    values.flat[0], values.flat[-1] = 0, full - 1
    if signed:
        values = values - (full >> 1)
    return values.astype(f"{'i' if signed else 'u'}{allocated // 8}")


def data_set(
    pixels: Array,
    *,
    stored: int | None = None,
    photometric: str | None = None,
    planar: int = 0,
    frames: int | None = None,
) -> Dataset:
    """A data set around native pixels, shaped [frames,] rows, columns[, 3]."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3.4"
    ds.Modality, ds.PatientName = "OT", "Doe^Jane"
    colour = pixels.shape[-1] == 3 and pixels.ndim > 2
    shape = pixels.shape[:-1] if colour else pixels.shape
    if frames is not None:
        ds.NumberOfFrames = frames
    ds.Rows, ds.Columns = shape[-2:]
    ds.SamplesPerPixel = 3 if colour else 1
    ds.PhotometricInterpretation = photometric or ("RGB" if colour else "MONOCHROME2")
    if colour:
        ds.PlanarConfiguration = planar
        if planar:
            pixels = np.moveaxis(pixels, -1, -3)
    if ds.PhotometricInterpretation == "PALETTE COLOR":
        for colour_name in ("Red", "Green", "Blue"):
            entries = 256**pixels.dtype.itemsize  # 65536 is written as 0, PS3.3 C.7.6.3.1.5
            setattr(ds, f"{colour_name}PaletteColorLookupTableDescriptor", [entries % 65536, 0, 16])
            setattr(ds, f"{colour_name}PaletteColorLookupTableData", np.arange(entries, dtype="u2").tobytes())
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored = stored or ds.BitsAllocated
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    raw = np.ascontiguousarray(pixels).tobytes()
    ds.add_new(0x7FE00010, "OW" if ds.BitsAllocated > 8 else "OB", raw + b"\0" * (len(raw) % 2))
    return ds


def part10(ds: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a DICOM file."""
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def with_furniture(ds: Dataset) -> Dataset:
    """Adds what must survive: private tags, sequences of both kinds of length, an icon, padding after the pixels."""
    block = ds.private_block(0x0029, "NOBODY KNOWS ME", create=True)
    block.add_new(0x01, "OB", b"\x00\xff\x7f\x80")
    block.add_new(0x02, "LO", "private")
    icon = data_set(image(8, 8, allocated=8))
    for keyword in ("SOPClassUID", "SOPInstanceUID", "Modality", "PatientName"):
        delattr(icon, keyword)
    ds.IconImageSequence = Sequence([icon])
    deep = Dataset()
    deep.ReferencedSOPInstanceUID = "1.2.3"
    study = Dataset()
    study.ReferencedInstanceSequence = Sequence([deep, deep])
    study.ReferencedSOPInstanceUID = "1.2.4"
    ds.ReferencedStudySequence = Sequence([study])
    for keyword in ("IconImageSequence", "ReferencedStudySequence"):
        ds[keyword].is_undefined_length = True
        ds[keyword].value[0].is_undefined_length_sequence_item = True
    ds.ReferencedImageSequence = Sequence([deep, Dataset()])
    ds.add_new(0x60000010, "US", 4)
    ds.add_new(0x60003000, "OW", b"\x01\x80\xff\x00")
    ds.add_new(0xFFFCFFFC, "OB", b"\0" * 126)
    return ds


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """One explicit VR element; ``length`` may lie."""
    size = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    long = vr in {b"OB", b"OW", b"SQ", b"UN", b"UT", b"OF", b"OD"}
    return head + (struct.pack("<HL", 0, size) if long else struct.pack("<H", size)) + value


def implicit_element(tag: int, value: bytes, length: int | None = None) -> bytes:
    """One implicit VR element; ``length`` may lie."""
    return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def item(value: bytes, length: int | None = None) -> bytes:
    """An item; ended by a delimiter when of undefined length."""
    end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0) if length == UNDEFINED else b""
    return implicit_element(0xFFFEE000, value, length) + end


SEQUENCE_END = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def file_of(body: bytes, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """Preamble, file meta information and any bytes as the data set."""
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = element(0x00020010, b"UI", uid)
    return b"\0" * 128 + b"DICM" + element(0x00020000, b"UL", struct.pack("<L", len(meta))) + meta + body


def image_elements(rows: int, columns: int, pixels: bytes, **changed: bytes) -> bytes:
    """A minimal explicit VR image, 8 bits, with single elements replaced by keyword."""
    us = struct.Struct("<H").pack
    elements = {
        "SamplesPerPixel": element(0x00280002, b"US", us(1)),
        "PhotometricInterpretation": element(0x00280004, b"CS", b"MONOCHROME2 "),
        "Rows": element(0x00280010, b"US", us(rows)),
        "Columns": element(0x00280011, b"US", us(columns)),
        "BitsAllocated": element(0x00280100, b"US", us(8)),
        "BitsStored": element(0x00280101, b"US", us(8)),
        "HighBit": element(0x00280102, b"US", us(7)),
        "PixelRepresentation": element(0x00280103, b"US", us(0)),
        "PixelData": element(0x7FE00010, b"OB", pixels),
    }
    return b"".join((elements | changed).values())
