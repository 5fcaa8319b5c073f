"""Makes a synthetic CT study from a seed; its files compress about as well as those of a real CT.

It is synthetic and says so in its own header. The size is that of the study in Orthanc's published ingest benchmark:
373 slices of 512 x 512 samples, 16 bits each, 196 MB (187 MiB).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

SLICES = 373
SIDE = 512
ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's own root, meant for generated identifiers


def slice_pixels(index: int, count: int, side: int, noise: np.random.Generator) -> NDArray[np.uint16]:
    """One slice: two ellipses of soft tissue with bone-like rims in air, plus detector noise.

    Returns:
        (side, side) uint16 of 12 stored bits.
    """
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    level = np.cos((index / max(count - 1, 1) - 0.5) * 2.0)
    body = (x / 0.85) ** 2 + (y / (0.55 + 0.1 * level)) ** 2
    image = np.where(body < 1, 1040.0, 24.0)
    image[(body > 0.92) & (body < 1)] = 940.0
    for centre in (-0.38, 0.38):
        lung = ((x - centre) / 0.27) ** 2 + (y / (0.34 + 0.08 * level)) ** 2
        image[lung < 1] = 180.0
    spine = (x / 0.12) ** 2 + ((y - 0.38) / 0.12) ** 2
    image[spine < 1] = 1500.0 + 300.0 * level
    image += 40.0 * np.sin(9 * x + index / 11) * np.cos(7 * y) * (body < 1)
    image += noise.normal(0.0, 16.0, image.shape) * np.where(body < 1, 1.0, 0.35)
    return np.clip(image, 0, 4095).astype(np.uint16)


def make_slice(index: int, count: int, side: int, seed: int) -> Dataset:
    """One CT Image Storage instance, explicit VR little endian; same arguments, same bytes."""
    uid = f"{ROOT}{seed}.{side}.{count}"
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(ROOT, [uid, str(index)])
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID = generate_uid(ROOT, [uid, "study"])
    dataset.SeriesInstanceUID = generate_uid(ROOT, [uid, "series"])
    dataset.FrameOfReferenceUID = generate_uid(ROOT, [uid, "frame"])
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.StudyDate, dataset.StudyTime, dataset.AccessionNumber = "20261121", "120000", f"PHANTOM{seed}"
    dataset.Modality, dataset.Manufacturer = "CT", "SYNTHETIC PHANTOM"
    dataset.StudyDescription, dataset.SeriesDescription = "Synthetic CT phantom", f"{count} slices, seed {seed}"
    dataset.PatientName, dataset.PatientID = "Phantom^Synthetic", f"PHANTOM-{seed}"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.StudyID, dataset.SeriesNumber, dataset.InstanceNumber = "1", 1, index + 1
    dataset.SliceThickness, dataset.PixelSpacing = "1.0", ["0.7", "0.7"]
    dataset.ImagePositionPatient = ["-179.2", "-179.2", str(float(index))]
    dataset.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    dataset.KVP, dataset.PositionReferenceIndicator = "120", ""
    dataset.RescaleIntercept, dataset.RescaleSlope = "-1024", "1"
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.Rows = dataset.Columns = side
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    noise = np.random.default_rng([seed, index])
    dataset.PixelData = slice_pixels(index, count, side, noise).tobytes()
    return dataset


def make_study(
    folder: Path,
    *,
    slices: int = SLICES,
    side: int = SIDE,
    seed: int = 1,
    progress: Callable[[int], None] = lambda _count: None,
) -> list[Path]:
    """Writes the study, one file a slice, and returns the paths; files that are there already are kept.

    Args:
        folder: made where it is missing.
        slices: how many.
        side: rows and columns.
        seed: other seeds give other studies of the same shape.
        progress: called with the number of slices made so far.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"ct-{seed}-{side}-{slices}-{index:05d}.dcm" for index in range(slices)]
    for index, path in enumerate(paths):
        if not path.exists():
            partial = path.with_suffix(".partial")
            make_slice(index, slices, side, seed).save_as(partial, enforce_file_format=True)
            partial.rename(path)
        progress(index + 1)
    return paths
