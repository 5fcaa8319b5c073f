"""Reads and checks the image attributes, compares them with the pixel data, and returns frames as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dicom.elements import UNDEFINED

from ..outcome import KeptError, Reason
from ..syntaxes import Target
from .header import (
    BITS_ALLOCATED,
    BITS_STORED,
    COLUMNS,
    DIGITAL_SIGNATURES,
    DOUBLE_PIXEL_DATA,
    ENCAPSULATION,
    FLOAT_PIXEL_DATA,
    HIGH_BIT,
    PHOTOMETRIC_INTERPRETATION,
    PIXEL_DATA,
    PIXEL_REPRESENTATION,
    PLANAR_CONFIGURATION,
    ROWS,
    SAMPLES_PER_PIXEL,
    Header,
)

Samples = NDArray[np.uint8] | NDArray[np.uint16]

_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOUR = ("RGB", "YBR_FULL")


@dataclass(frozen=True, slots=True)
class Layout:
    """The image pixel attributes (PS3.3 C.7.6.3), each checked."""

    rows: int
    columns: int
    frames: int
    samples: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    planar: bool
    photometric: str

    @property
    def frame_bytes(self) -> int:
        """Bytes of one native frame."""
        return self.rows * self.columns * self.samples * (self.bits_allocated // 8)


def require_pixel_data(header: Header) -> None:
    """Refuse what has no native integer pixel data at the top level, or has it in a form that may not change.

    Raises:
        KeptError: with the reason.
    """
    if FLOAT_PIXEL_DATA in header.found or DOUBLE_PIXEL_DATA in header.found:
        raise KeptError(Reason.FLOAT_PIXELS)
    element = header.found.get(PIXEL_DATA)
    if element is None or element.length == 0:
        raise KeptError(Reason.NO_PIXEL_DATA)
    if element.length == UNDEFINED or element.vr not in (b"OB", b"OW", b""):
        raise KeptError(Reason.MALFORMED, "pixel data of undefined length, or of a VR other than OB and OW")
    if not ENCAPSULATION.isdisjoint(header.found):
        raise KeptError(Reason.MALFORMED, "an extended offset table beside native pixel data")
    if DIGITAL_SIGNATURES in header.found:
        # A signature may cover the pixel data as encoded (PS3.15 C.1.1): the new file would fail its check.
        raise KeptError(Reason.DIGITALLY_SIGNED)


def layout_of(header: Header, target: Target) -> Layout:
    """Read and check the attributes, and compare the length of the native pixel data with them.

    Raises:
        KeptError: see `attributes_of`; or the pixel data has another length.
    """
    layout = attributes_of(header, target)
    _check_length(header, layout)
    return layout


def attributes_of(header: Header, target: Target) -> Layout:
    """Read and check the attributes; sizes in Python integers, which do not overflow.

    Raises:
        KeptError: absent, contradictory, or nothing the target can encode exactly (PS3.5 tables 8.2.1-2 to 8.2.4-1).
    """
    rows, columns, frames = header.number(ROWS), header.number(COLUMNS), header.frames()
    allocated, stored = header.number(BITS_ALLOCATED), header.number(BITS_STORED)
    samples, representation = header.number(SAMPLES_PER_PIXEL), header.number(PIXEL_REPRESENTATION)
    if not rows or not columns or frames is None or stored is None or representation not in (0, 1):
        raise KeptError(Reason.ATTRIBUTES, "rows, columns, frames, bits stored or pixel representation")
    if allocated not in (8, 16) or not 1 <= stored <= allocated:
        raise KeptError(Reason.BIT_DEPTH, f"{stored} of {allocated} bits")
    if header.number(HIGH_BIT) != stored - 1:
        raise KeptError(Reason.HIGH_BIT)
    photometric = header.text(PHOTOMETRIC_INTERPRETATION) or ""
    if samples not in (1, 3) or photometric not in (_GREY if samples == 1 else _COLOUR):
        # YBR_FULL_422 above all: natively it is subsampled (PS3.3 C.7.6.3.1.2), so its length is another one too.
        raise KeptError(Reason.PHOTOMETRIC, f"{photometric!r} with {samples} samples per pixel")
    planar = header.number(PLANAR_CONFIGURATION) if samples == 3 else 0
    if planar not in (0, 1):
        raise KeptError(Reason.ATTRIBUTES, "planar configuration")
    layout = Layout(rows, columns, frames, samples, allocated, stored, representation == 1, planar == 1, photometric)
    _check_for_target(layout, target)
    return layout


def _check_for_target(layout: Layout, target: Target) -> None:
    """What the tables of PS3.5 8.2 allow beyond what is true of all targets."""
    if layout.signed and layout.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise KeptError(Reason.PHOTOMETRIC, f"{layout.photometric} with signed pixels")
    if layout.bits_stored < 2 and target is Target.JPEG_LS_LOSSLESS:
        raise KeptError(Reason.BIT_DEPTH, "JPEG-LS starts at 2 bits")
    # The samples would be the same bit for bit, but some reader shows other colours whatever the stream says.
    if layout.photometric == "YBR_FULL" and target in (Target.JPEG_LS_LOSSLESS, Target.RLE_LOSSLESS):
        raise KeptError(Reason.COLOURS, f"Orthanc previews YBR_FULL in {target.keyword} as RGB")
    if layout.samples == 3 and layout.bits_allocated == 16 and target is Target.RLE_LOSSLESS:
        raise KeptError(Reason.COLOURS, "GDCM mixes up the bytes of 16-bit colour in RLELossless")


def _check_length(header: Header, layout: Layout) -> None:
    expected = layout.frame_bytes * layout.frames
    found = header.found[PIXEL_DATA].length
    # An odd number of bytes is followed by one of padding (PS3.5 8.1.1).
    if found not in (expected, expected + expected % 2):
        raise KeptError(Reason.PIXEL_LENGTH, f"{found} bytes where {expected} were expected")


def frame(header: Header, layout: Layout, number: int) -> Samples:
    """One frame as unsigned samples, rows x columns or rows x columns x 3; without a copy where the order allows it.

    Signed pixels are returned as unsigned ones with the same bits; the codecs know.
    """
    dtype = np.dtype("u1" if layout.bits_allocated == 8 else "<u2")
    start = header.found[PIXEL_DATA].value + number * layout.frame_bytes
    flat = np.frombuffer(header.view[start : start + layout.frame_bytes], dtype)
    if layout.samples == 1:
        shaped: Samples = flat.reshape(layout.rows, layout.columns)
    elif layout.planar:
        shaped = flat.reshape(3, layout.rows, layout.columns).transpose(1, 2, 0)
    else:
        shaped = flat.reshape(layout.rows, layout.columns, 3)
    # Codecs read aligned and dense memory: an element of odd length before the pixels, or planes, make a copy here.
    return np.require(shaped, requirements=("C", "A"))


def check_stray_bits(samples: Samples, layout: Layout) -> None:
    """Refuse pixels with other bits above Bits Stored than their sign: retired overlays are stored there.

    Raises:
        KeptError: such bits are set.
    """
    if layout.bits_stored == layout.bits_allocated:
        return
    if layout.signed:
        values: NDArray[Any] = samples.view(np.int8 if layout.bits_allocated == 8 else np.int16)
        half = 1 << (layout.bits_stored - 1)
        stray = int(np.min(values)) < -half or int(np.max(values)) >= half
    else:
        stray = int(np.max(samples)) >> layout.bits_stored != 0
    if stray:
        raise KeptError(Reason.STRAY_BITS)
