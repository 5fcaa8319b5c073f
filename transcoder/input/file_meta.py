"""Reads file meta information with `dicom.file_meta`; what cannot be read becomes a reason to keep the original."""

from __future__ import annotations

from dicom import file_meta
from dicom.errors import NoPreambleError, UnreadableError
from dicom.file_meta import FileMeta

from ..outcome import KeptError, Reason


def read_file_meta(view: memoryview) -> FileMeta:
    """Read the file meta information.

    Raises:
        KeptError: no preamble or prefix, or file meta information that contradicts itself.
    """
    try:
        return file_meta.read_file_meta(view)
    except UnreadableError as error:
        reason = Reason.NOT_DICOM if isinstance(error, NoPreambleError) else Reason.MALFORMED_META
        raise KeptError(reason, str(error)) from None
