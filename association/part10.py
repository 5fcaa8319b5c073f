"""Reads a DICOM file (PS3.10 section 7.1) for sending: its SOP instance and its data set."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from dicom.errors import NoPreambleError, UnreadableError
from dicom.file_meta import read_file_meta, sop_instance_of


class NotPart10Error(ValueError):
    """The file has no file meta information that tells what it is; the message is one line."""


class Instance(NamedTuple):
    """What a C-STORE needs to know of a file."""

    sop_class: str
    sop_instance_uid: str
    transfer_syntax: str
    dataset: bytes


def read(path: Path) -> Instance:
    """Reads a file whole.

    Raises:
        NotPart10Error: no preamble, malformed file meta information, or one of the three UIDs is missing.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    view = memoryview(data)
    try:
        meta = read_file_meta(view)
    except NoPreambleError as error:
        raise NotPart10Error(f"{path}: not a DICOM file ({error})") from None
    except UnreadableError as error:
        raise NotPart10Error(f"{path}: malformed file meta information: {error}") from None
    instance = sop_instance_of(view, meta)
    if not meta.sop_class or not instance:
        raise NotPart10Error(f"{path}: its file meta information lacks a UID")
    return Instance(meta.sop_class, instance, meta.transfer_syntax, data[meta.end :])
