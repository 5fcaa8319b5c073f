"""The transfer syntaxes this package reads, writes and refuses (PS3.6 A, PS3.5 A.1 to A.4)."""

from __future__ import annotations

from enum import StrEnum

from pydicom._uid_dict import UID_dictionary

from dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, EXPLICIT_LITTLE_ENDIAN, IMPLICIT_LITTLE_ENDIAN

READABLE = frozenset({IMPLICIT_LITTLE_ENDIAN, EXPLICIT_LITTLE_ENDIAN, DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN})
"""Syntaxes with native pixel data, which can be encoded without a decoder."""

MEDIA_STORAGE_DIRECTORY = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR: it holds byte offsets into itself, so no byte of it may move (PS3.3 F.3.2.2)."""


class Target(StrEnum):
    """Transfer syntaxes that can be produced; the value is the UID, the name its keyword in capitals."""

    JPEG_LOSSLESS_SV1 = "1.2.840.10008.1.2.4.70"
    JPEG_LS_LOSSLESS = "1.2.840.10008.1.2.4.80"
    JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.90"
    HTJ2K_LOSSLESS = "1.2.840.10008.1.2.4.201"
    HTJ2K_LOSSLESS_RPCL = "1.2.840.10008.1.2.4.202"
    RLE_LOSSLESS = "1.2.840.10008.1.2.5"
    # Only where a rule has a bound for it, see `policy.loss`.
    JPEG_LS_NEAR_LOSSLESS = "1.2.840.10008.1.2.4.81"
    JPEG_2000 = "1.2.840.10008.1.2.4.91"

    @property
    def keyword(self) -> str:
        """The keyword of PS3.6 table A-1, for instance ``JPEGLSLossless``."""
        return UID_dictionary[self.value][4]


LOSSY = frozenset(
    {
        "1.2.840.10008.1.2.4.50",
        "1.2.840.10008.1.2.4.51",
        "1.2.840.10008.1.2.4.81",
        "1.2.840.10008.1.2.4.91",
        "1.2.840.10008.1.2.4.93",
        "1.2.840.10008.1.2.4.94",
        "1.2.840.10008.1.2.4.95",
        "1.2.840.10008.1.2.4.112",
        "1.2.840.10008.1.2.4.203",
    }
    | {f"1.2.840.10008.1.2.4.{number}" for number in range(100, 109)}
)
"""Syntaxes that lose information, or may (PS3.5 A.4). They are refused with a message of their own."""

TARGETS_BY_KEYWORD = {target.keyword: target for target in Target if target not in LOSSY}
"""The lossless targets."""

LOSSY_TARGETS_BY_KEYWORD = {target.keyword: target for target in Target if target in LOSSY}
"""The lossy targets, which need a bound."""


def _by_keyword(kind: str) -> dict[str, str]:
    """Keyword to UID, for the UIDs of one kind of PS3.6 table A-1."""
    return {entry[4]: uid for uid, entry in UID_dictionary.items() if entry[1] == kind and entry[4]}


TRANSFER_SYNTAXES = _by_keyword("Transfer Syntax")
SOP_CLASSES = _by_keyword("SOP Class")
