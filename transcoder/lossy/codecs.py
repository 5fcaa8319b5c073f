"""The lossy codec for each target that may lose something."""

from __future__ import annotations

import numpy as np

from ..input.pixels import Layout, Samples
from ..policy.loss import Loss
from ..syntaxes import Target
from .codec import LossyCodec
from .jpeg_2000 import IrreversibleJpeg2000
from .jpeg_ls import NearLosslessJpegLs

_CODECS: dict[Target, type[LossyCodec]] = {
    Target.JPEG_LS_NEAR_LOSSLESS: NearLosslessJpegLs,
    Target.JPEG_2000: IrreversibleJpeg2000,
}


def load(loss: Loss) -> LossyCodec:
    """The codec for a loss, tested with a small image.

    Raises:
        RuntimeError: its library is missing, or does not keep within the bound; one line.
    """
    layout = Layout(32, 32, 1, 1, 16, 16, signed=False, planar=False, photometric="MONOCHROME2")
    image: Samples = (np.arange(1024, dtype="<u2") * 16 + 1000).reshape(32, 32)
    try:
        codec = _CODECS[loss.target](loss)
        codec.compress(image, layout)
    except Exception as error:
        raise RuntimeError(f"no working codec for {loss.target.keyword}: {type(error).__name__}: {error}") from error
    return codec
