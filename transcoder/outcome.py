"""The outcome of one instance, and every reason to keep an original."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from dicom.errors import TooDeepError, TooManyElementsError, UnreadableError

MAX_DETAIL_CHARS = 200
"""How much of a library's error message is shown, after the name of its type."""


class Reason(StrEnum):
    """Why an instance was transcoded or kept. The text is what counters, logs and pages show."""

    TRANSCODED = "transcoded"
    LOSSY = "transcoded with loss"
    # The operator's choice.
    DISABLED = "kept: disabled"
    BY_RULE = "kept: by rule"
    DRY_RUN = "kept: dry run"
    TOO_SMALL = "kept: below the minimum size"
    TOO_LARGE = "kept: above the maximum size"
    # Nothing is wrong with the file, but it is of no kind that is transcoded.
    COMPRESSED = "kept: already compressed"
    BIG_ENDIAN = "kept: big endian with values of unknown byte order"
    UNKNOWN_SYNTAX = "kept: unknown transfer syntax"
    DICOMDIR = "kept: DICOMDIR"
    NO_PIXEL_DATA = "kept: no pixel data"
    FLOAT_PIXELS = "kept: float pixel data"
    DIGITALLY_SIGNED = "kept: digitally signed"
    # The file is not what the standard describes, or that cannot be proven.
    NOT_DICOM = "kept: not a DICOM file"
    MALFORMED_META = "kept: malformed file meta information"
    MALFORMED = "kept: malformed data set"
    TOO_DEEP = "kept: nested too deeply"
    TOO_MANY_ELEMENTS = "kept: too many elements"
    INFLATE = "kept: cannot inflate"
    CONVERSION = "kept: conversion to explicit VR not proven"
    # The image cannot be encoded exactly.
    ATTRIBUTES = "kept: image attributes missing or invalid"
    BIT_DEPTH = "kept: unsupported bit depth"
    HIGH_BIT = "kept: high bit is not bits stored - 1"
    PHOTOMETRIC = "kept: unsupported photometric interpretation"
    COLOURS = "kept: colours would be shown wrong"
    PIXEL_LENGTH = "kept: pixel data length does not match"
    STRAY_BITS = "kept: bits set above bits stored"
    OFFSET_TABLE = "kept: too large for an offset table"
    # It came compressed, and could not be decoded.
    DECODER_REFUSED = "kept: decoder refused"
    DECODERS_DISAGREE = "kept: decoders disagree"
    DECODER_MEMORY = "kept: decoder out of memory"
    DECODER_TIMED_OUT = "kept: decoder timed out"
    DECODER_DIED = "kept: decoder died"
    DECODER_RESTING = "kept: decoder not running"
    # Nothing may be lost here, or the file could not say what was lost.
    NOT_AN_IMAGE = "kept: values that are no image"
    FUNCTIONAL_GROUPS = "kept: functional groups tell of each frame"
    ALREADY_LOSSY = "kept: compressed with loss before"
    RANGE = "kept: values at the end of their range"
    PADDING = "kept: pixel padding would change"
    BOUND = "kept: error above the bound"
    # The result was not good enough.
    NOT_SMALLER = "kept: not smaller"
    VERIFICATION_FAILED = "kept: verification failed"
    ENCODER_REFUSED = "kept: encoder refused"
    REFUSED = "refused: verification failed"
    # Transcoded, and then refused by another part of the server, or not written.
    NEVER_STORED = "received and never stored"
    ERROR = "kept: error"


WORTH_A_WARNING = frozenset(
    {
        Reason.VERIFICATION_FAILED,
        Reason.REFUSED,
        Reason.ENCODER_REFUSED,
        Reason.CONVERSION,
        Reason.TOO_DEEP,
        Reason.DECODERS_DISAGREE,
        Reason.DECODER_MEMORY,
        Reason.DECODER_TIMED_OUT,
        Reason.DECODER_DIED,
        Reason.DECODER_RESTING,
        Reason.ERROR,
    }
)
"""Reasons that should not happen with good files and good codecs: they are logged as warnings."""


class KeptError(Exception):
    """The original is to be kept, with the reason. Never leaves the package."""

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


def kept_error_of(error: UnreadableError) -> KeptError:
    """The reason to keep a data set that `dicom` cannot read."""
    if isinstance(error, TooDeepError):
        return KeptError(Reason.TOO_DEEP, str(error))
    if isinstance(error, TooManyElementsError):
        return KeptError(Reason.TOO_MANY_ELEMENTS, str(error))
    return KeptError(Reason.MALFORMED, str(error))


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one instance.

    Attributes:
        transcoded: whether ``dicom`` is to be stored instead of the original.
        dicom: the new file when transcoded, else None.
        reason: why it was transcoded or kept.
        detail: one line for a person; empty where the reason says it all.
        rule: name of the rule that decided, ``Default`` for the default, empty when none was asked.
        source_syntax: transfer syntax UID received, empty when unreadable.
        target_syntax: transfer syntax UID the rule asked for; empty when it is Keep or no rule was asked.
        bytes_in: size of the file received.
        bytes_out: size of the file to be stored; in a dry run, the size it would have had.
        scan_ns: reading the header, and making it explicit little endian where it was not.
        decode_ns: waiting for the decoder, where the instance came compressed.
        encode_ns: checking and encoding pixels, and building the new file.
        verify_ns: decoding and comparing; 0 where that is done after the callback.
    """

    transcoded: bool
    dicom: bytes | None
    reason: Reason
    detail: str = ""
    rule: str = ""
    source_syntax: str = ""
    target_syntax: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    scan_ns: int = 0
    decode_ns: int = 0
    encode_ns: int = 0
    verify_ns: int = 0
