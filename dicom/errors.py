"""Errors of reading DICOM. A message is one line, and empty where the type says it all."""

from __future__ import annotations


class UnreadableError(Exception):
    """The bytes cannot be read: the base of the others."""


class NoPreambleError(UnreadableError):
    """No preamble with its prefix: not a DICOM file (PS3.10 7.1)."""


class MalformedError(UnreadableError):
    """The bytes are not what the standard describes."""


class TooDeepError(UnreadableError):
    """Sequences are nested more deeply than allowed."""


class TooManyElementsError(UnreadableError):
    """There are more elements than allowed."""
