"""Compares two DICOM files that may differ in their lossless transfer syntax, but in nothing else."""

import io
from typing import Any, Final

# The only elements that lossless transcoding may change: pixel data, planar configuration and frame offsets.
_ENCODING: Final = {0x7FE00010, 0x00280006, 0x7FE00001, 0x7FE00002}


def same_image(one: bytes, other: bytes) -> bool:
    """Whether all elements but the encoding are equal, and all samples of all frames. False if unreadable."""
    try:
        return _same_image(one, other)
    # Any error means that equality is not proven.
    except Exception:  # noqa: BLE001
        return False


def _same_image(one: bytes, other: bytes) -> bool:
    import numpy
    from pydicom import dcmread
    from pydicom.pixels.utils import iter_pixels

    first, second = (dcmread(io.BytesIO(content)) for content in (one, other))
    if _elements(first) != _elements(second):
        return False
    if "PixelData" not in first or "PixelData" not in second:
        return "PixelData" not in first and "PixelData" not in second
    pairs = zip(iter_pixels(io.BytesIO(one), raw=True), iter_pixels(io.BytesIO(other), raw=True), strict=True)
    return all(a.dtype == b.dtype and numpy.array_equal(a, b) for a, b in pairs)


def _elements(dataset: Any) -> dict[int, Any]:
    return {
        int(element.tag): element.value
        for element in dataset
        if int(element.tag) not in _ENCODING and element.tag.element
    }
