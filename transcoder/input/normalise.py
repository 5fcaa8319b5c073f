"""Every readable data set brought to the one form the encoder starts from: explicit VR little endian, in memory."""

from __future__ import annotations

import struct

from dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN

from ..outcome import KeptError, Reason
from ..proof.data_set_equality import prove_equal
from ..syntaxes import READABLE, TRANSFER_SYNTAXES
from .big_endian import to_little_endian
from .explicit_vr import to_explicit
from .header import PIXEL_DATA, Header, scan
from .inflate import inflate

_KNOWN = frozenset(TRANSFER_SYNTAXES.values())


def open_data_set(
    data_set: memoryview, transfer_syntax: str, maximum_inflated_bytes: int, decodable: frozenset[str] = frozenset()
) -> Header:
    """Scan a data set as it was received; inflated where it is deflated, turned where it is big endian, but implicit VR stays as it is.

    The policy can thus be asked before the work of a conversion is done. Pixel data in one of the ``decodable``
    syntaxes stays compressed.

    Raises:
        KeptError: the syntax is not one to start from, or the data set cannot be read.
    """
    if transfer_syntax not in READABLE and transfer_syntax not in decodable:
        known = transfer_syntax in _KNOWN
        raise KeptError(Reason.COMPRESSED if known else Reason.UNKNOWN_SYNTAX, transfer_syntax)
    if transfer_syntax == EXPLICIT_BIG_ENDIAN:
        # All of it at once: of what it says nothing can be read before.
        data_set = memoryview(to_little_endian(data_set))
    elif transfer_syntax == DEFLATED_LITTLE_ENDIAN:
        data_set = memoryview(inflate(data_set, maximum_inflated_bytes))
    return scan(data_set, implicit=transfer_syntax == IMPLICIT_LITTLE_ENDIAN)


def as_explicit(header: Header) -> Header:
    """The same data set in explicit VR, proven to say the same.

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
