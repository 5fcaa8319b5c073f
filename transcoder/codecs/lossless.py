"""The lossless codec for each target, over imagecodecs (which releases the GIL) and pylibjpeg-rle.

What the experiments behind each choice of precision and sign showed is in the docstring of each codec. DCMTK 3.6.7,
GDCM 3.0.21 and pydicom 3 with pylibjpeg-openjpeg, pylibjpeg-rle and pyjpegls were the independent readers.
"""

from __future__ import annotations

import numpy as np

from ..input.pixels import Layout, Samples
from ..syntaxes import Target
from .codec import Codec
from .jpeg import JpegLossless, JpegLs
from .jpeg_2000 import HighThroughputJpeg2000, Jpeg2000, ProgressiveHighThroughputJpeg2000
from .rle import Rle

_CODECS: dict[Target, type[Codec]] = {
    Target.JPEG_LOSSLESS_SV1: JpegLossless,
    Target.JPEG_LS_LOSSLESS: JpegLs,
    Target.JPEG_2000_LOSSLESS: Jpeg2000,
    Target.HTJ2K_LOSSLESS: HighThroughputJpeg2000,
    Target.HTJ2K_LOSSLESS_RPCL: ProgressiveHighThroughputJpeg2000,
    Target.RLE_LOSSLESS: Rle,
}


def load(target: Target) -> Codec:
    """The codec for a target, tested with a small image.

    Raises:
        RuntimeError: its library is missing, or is not lossless; one line.
    """
    layout = Layout(16, 16, 1, 1, 16, 12, signed=False, planar=False, photometric="MONOCHROME2")
    image: Samples = (np.arange(256, dtype="<u2") * 16).reshape(16, 16)
    try:
        codec = _CODECS[target]()
        exact = np.array_equal(codec.decode(codec.encode(image, layout), layout), image)
    except Exception as error:
        raise RuntimeError(f"no working codec for {target.keyword}: {type(error).__name__}: {error}") from error
    if not exact:
        raise RuntimeError(f"the codec for {target.keyword} is not lossless")
    return codec
