"""Why bytes cannot be read as DICOM; each message is one line, and may be empty where the type says it all."""

from __future__ import annotations


class UnreadableError(Exception):
    """What cannot be read: the base of the others."""


class NoPreambleError(UnreadableError):
    """No preamble with its prefix: not a DICOM file (PS3.10 7.1)."""


class MalformedError(UnreadableError):
    """Not what the standard describes."""


class TooDeepError(UnreadableError):
    """More sequences within one another than are followed."""


class TooManyElementsError(UnreadableError):
    """More elements than are looked at."""
