"""Independent decoders: DCMTK's, GDCM's, and pydicom's with plugins that the package does not encode with."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

import pydicom
from pydicom.pixels import pixel_array

from harness import jpeg_ls_reader

DCMTK = {
    "JPEGLosslessSV1": ["dcmdjpeg", "--conv-never"],
    "JPEGLSLossless": ["dcmdjpls"],
    "JPEGLSNearLossless": ["dcmdjpls"],
    "RLELossless": ["dcmdrle"],
}
# pylibjpeg-openjpeg decodes what OpenJPEG and OpenJPH encoded; pydicom's own RLE decoder is not pylibjpeg-rle.
PYDICOM = {
    "JPEGLSLossless": jpeg_ls_reader.reader(),
    "JPEGLSNearLossless": jpeg_ls_reader.reader(),
    "JPEG2000": "pylibjpeg",
    "JPEG2000Lossless": "pylibjpeg",
    "HTJ2KLossless": "pylibjpeg",
    "HTJ2KLosslessRPCL": "pylibjpeg",
    "RLELossless": "pydicom",
}


def _converted(command: list[str], dicom: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        source.write_bytes(dicom)
        subprocess.run([*command, str(source), str(target)], check=True, capture_output=True, timeout=60)
        return bytes(pydicom.dcmread(target).PixelData)


def decoded(dicom: bytes, target: str) -> dict[str, bytes]:
    """Native pixel bytes by the name of each reader there is for the target; padding may follow.

    GDCM 3.0 knows no HTJ2K, aborts on JPEG lossless and RLE of fewer than 8 bits stored in 8, and mixes up RLE planes
    of 16-bit
    colour: each of them with files it encoded itself, too.
    """
    found: dict[str, bytes] = {}
    if target in DCMTK and shutil.which(DCMTK[target][0]):
        found["dcmtk"] = _converted(DCMTK[target], dicom)
    ds = pydicom.dcmread(io.BytesIO(dicom))
    beyond_gdcm = (
        target.startswith("HTJ2K")
        or (target in ("JPEGLosslessSV1", "RLELossless") and ds.BitsStored < ds.BitsAllocated == 8)
        or (target == "RLELossless" and ds.SamplesPerPixel == 3 and ds.BitsAllocated == 16)
    )
    if not beyond_gdcm and shutil.which("gdcmconv"):
        found["gdcm"] = _converted(["gdcmconv", "--raw"], dicom)
    if target in PYDICOM:
        found["pydicom"] = pixel_array(ds, raw=True, decoding_plugin=PYDICOM[target]).tobytes()
    return found


def complaints_of_dcmtk(dicom: bytes) -> str:
    """What dcmdump, on the parser that Orthanc uses, has to say against a file; empty when it is not installed."""
    if not shutil.which("dcmdump"):
        return ""
    with tempfile.NamedTemporaryFile(suffix=".dcm") as file:
        file.write(dicom)
        file.flush()
        done = subprocess.run(["dcmdump", file.name], check=False, capture_output=True, timeout=60)
    return done.stderr.decode(errors="replace")
