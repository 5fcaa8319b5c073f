"""Converts implicit VR to explicit VR, which the encoder starts from, and proves that both say the same."""

from __future__ import annotations

import struct

from ..input.explicit_vr import to_explicit
from ..input.header import PIXEL_DATA, Header, scan
from ..outcome import KeptError, Reason
from .data_set_equality import prove_equal


def as_explicit(header: Header) -> Header:
    """The same data set in explicit VR, proven to say the same. Explicit VR is returned as it is.

    Raises:
        KeptError: it could not be converted, or the proof failed.
    """
    if not header.implicit:
        return header
    try:
        explicit = memoryview(to_explicit(header.view))
    except struct.error:
        raise KeptError(Reason.MALFORMED, "the file ends within an element") from None
    prove_equal(header.view, explicit)
    converted = scan(explicit, implicit=False)
    if converted.found.keys() != header.found.keys() or PIXEL_DATA not in converted.found:
        raise KeptError(Reason.CONVERSION, "other elements found after the conversion")
    return converted
