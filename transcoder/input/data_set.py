"""Opens a received data set: inflates it, turns big endian into little endian, and scans its header."""

from __future__ import annotations

from dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN

from ..outcome import KeptError, Reason
from ..syntaxes import READABLE, TRANSFER_SYNTAXES
from .big_endian import to_little_endian
from .header import Header, scan
from .inflate import inflate

_KNOWN = frozenset(TRANSFER_SYNTAXES.values())


def open_data_set(
    data_set: memoryview, transfer_syntax: str, maximum_inflated_bytes: int, decodable: frozenset[str] = frozenset()
) -> Header:
    """Scan a data set as it was received, inflated and in little endian.

    Implicit VR stays as it is, so that the policy can be asked before the work of a conversion is done. Pixel data in
    one of the ``decodable`` syntaxes stays compressed.

    Raises:
        KeptError: pixel data in this syntax cannot be read, or the data set cannot be read.
    """
    if transfer_syntax not in READABLE and transfer_syntax not in decodable:
        known = transfer_syntax in _KNOWN
        raise KeptError(Reason.COMPRESSED if known else Reason.UNKNOWN_SYNTAX, transfer_syntax)
    if transfer_syntax == EXPLICIT_BIG_ENDIAN:
        # All of it at once: nothing in it can be read before.
        data_set = memoryview(to_little_endian(data_set))
    elif transfer_syntax == DEFLATED_LITTLE_ENDIAN:
        data_set = memoryview(inflate(data_set, maximum_inflated_bytes))
    return scan(data_set, implicit=transfer_syntax == IMPLICIT_LITTLE_ENDIAN)
