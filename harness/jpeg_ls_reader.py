"""JPEG-LS for pydicom where it can read none: on Python 3.14, for which there is no wheel of pyjpegls.

DCMTK's dcmdjpls reads each frame then. A module as pydicom's add_plugin wants it.
"""

import io
import shutil
import subprocess
import tempfile
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import DecodeRunner, get_decoder
from pydicom.uid import UID, JPEGLSLossless, JPEGLSNearLossless, SecondaryCaptureImageStorage

DECODER_DEPENDENCIES: dict[UID, tuple[str, ...]] = {
    JPEGLSLossless: ("dcmdjpls (Debian's package dcmtk)",),
    JPEGLSNearLossless: ("dcmdjpls (Debian's package dcmtk)",),
}
_NAME = "dcmdjpls"
_SOF55 = b"\xff\xf7"


def reader() -> str:
    """The name of the pydicom plugin that reads JPEG-LS here; ours is added where pydicom's own is missing."""
    for syntax in DECODER_DEPENDENCIES:
        decoder = get_decoder(syntax)
        if not decoder.is_available:
            decoder.add_plugin(_NAME, (__name__, decode_frame.__name__))
    return "pyjpegls" if "pyjpegls" in get_decoder(JPEGLSLossless).available_plugins else _NAME


def is_available(_: str) -> bool:
    """Whether DCMTK's program is installed; asked by pydicom."""
    return shutil.which(_NAME) is not None


def decode_frame(stream: bytes, runner: DecodeRunner) -> bytearray:
    """One frame, as pydicom asks for it: `runner` is told how large samples are and in which order."""
    # Length of the segment, two bytes, then the precision.
    precision = stream[stream.index(_SOF55) + 4]
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.3"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = runner.rows, runner.columns, runner.samples_per_pixel
    ds.PhotometricInterpretation = "MONOCHROME2" if runner.samples_per_pixel == 1 else "RGB"
    if runner.samples_per_pixel > 1:
        ds.PlanarConfiguration = 0
    # Streams have no sign: what lies in the samples is wanted as it is.
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 if precision <= 8 else 16, precision, precision - 1
    ds.PixelRepresentation = 0
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].VR = "OB"
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = runner.transfer_syntax
    source = io.BytesIO()
    ds.save_as(source, enforce_file_format=True)
    with tempfile.TemporaryDirectory() as folder:
        compressed, native = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        compressed.write_bytes(source.getvalue())
        subprocess.run([_NAME, str(compressed), str(native)], check=True, capture_output=True, timeout=60)
        decoded = dcmread(native)
    runner.set_option("bits_allocated", decoded.BitsAllocated)
    if runner.samples_per_pixel > 1:
        runner.set_option("planar_configuration", decoded.PlanarConfiguration)
    length = runner.rows * runner.columns * runner.samples_per_pixel * decoded.BitsAllocated // 8
    return bytearray(decoded.PixelData[:length])
