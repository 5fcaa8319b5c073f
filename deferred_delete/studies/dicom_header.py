"""Reads patient and study from a stored DICOM file, without trusting its content.

Read from the file as it lies in the storage folder: plain, or as Orthanc's StorageCompression leaves it (8 bytes of
length, little endian, then a zlib stream). Only its first part is looked at, so that memory stays bounded whatever the
file claims.
"""

import io
import struct
import zlib
from typing import Any, Final, NamedTuple

from dicom.file_meta import FIRST_ELEMENT, has_prefix
from dicom.uids import DEFLATED_LITTLE_ENDIAN, EXPLICIT_BIG_ENDIAN, IMPLICIT_LITTLE_ENDIAN

# Where a header ends in practice; private elements with more than that before (0020,000D) make a file unreadable here.
HEADER_BYTES: Final = 1024 * 1024
# zlib can not shrink anything further than this (zlib's technical details): a length beyond is a lie.
_MOST_SHRUNK: Final = 1032
_LONGEST_TEXT: Final = 200
# SOPInstanceUID, StudyDate, Modality, StudyDescription, PatientName, PatientID, StudyInstanceUID; and the character set
# to read them.
_TAGS: Final = [0x00080005, 0x00080018, 0x00080020, 0x00080060, 0x00081030, 0x00100010, 0x00100020, 0x0020000D]
_LAST_TAG: Final = 0x0020000D


class Header(NamedTuple):
    """The part of a DICOM file that tells operators which study it belongs to."""

    study_instance_uid: str
    sop_instance_uid: str
    patient_id: str
    patient_name: str
    study_date: str
    study_description: str
    modality: str


class NotDicomError(Exception):
    """The file is no DICOM file, or not one whose header can be read within bounds."""


def is_plain(content: bytes) -> bool:
    """Whether a file's beginning is a DICOM file's (PS3.10 7.1) rather than Orthanc's compressed form."""
    return has_prefix(content)


def inflate(content: bytes, at_most: int | None = None) -> bytes:
    """The DICOM file that an attachment holds, StorageCompression or not.

    Args:
        content: The attachment's bytes, or its first part when `at_most` is given.
        at_most: So many bytes are enough.

    Raises:
        NotDicomError: Compressed, and damaged.
    """
    if is_plain(content) or len(content) < 10 or content[8] != 0x78:
        return content if at_most is None else content[:at_most]
    (size_bytes,) = struct.unpack_from("<Q", content)
    if at_most is None and size_bytes > _MOST_SHRUNK * len(content):
        raise NotDicomError(f"claims {size_bytes} bytes: expected no more than {_MOST_SHRUNK} times its size")
    try:
        inflated = zlib.decompressobj().decompress(memoryview(content)[8:], at_most or size_bytes + 1)
    except zlib.error as error:
        raise NotDicomError(f"cannot inflate: {error}") from None
    if at_most is None and len(inflated) != size_bytes:
        raise NotDicomError(f"inflates to {len(inflated)} bytes: expected {size_bytes}")
    return inflated


def read_header(beginning: bytes) -> Header:
    """Reads a stored file's beginning (HEADER_BYTES of it, or all).

    Raises:
        NotDicomError: No DICOM file, without a study, or hostile.
    """
    try:
        return _read(inflate(beginning, HEADER_BYTES))
    except NotDicomError:
        raise
    # RecursionError and MemoryError are among what a hostile file provokes; pydicom raises many kinds.
    except Exception as error:  # noqa: BLE001
        raise NotDicomError(f"{type(error).__name__}: {error}") from None


def _read(content: bytes) -> Header:
    # Not before it is needed: most of what a thread of ours needs is no DICOM.
    from pydicom.filereader import read_dataset

    if not is_plain(content):
        raise NotDicomError("no DICM at byte 128")
    file = io.BytesIO(content)
    file.seek(FIRST_ELEMENT)
    meta = read_dataset(file, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
    syntax = str(meta.get("TransferSyntaxUID", IMPLICIT_LITTLE_ENDIAN))
    if syntax == DEFLATED_LITTLE_ENDIAN:
        file = io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(content[file.tell() :], HEADER_BYTES))
    header = read_dataset(
        file,
        is_implicit_VR=syntax == IMPLICIT_LITTLE_ENDIAN,
        is_little_endian=syntax != EXPLICIT_BIG_ENDIAN,
        stop_when=_after_study,
        specific_tags=_TAGS,
    )
    found = Header(
        _text(header, "StudyInstanceUID"),
        _text(header, "SOPInstanceUID"),
        _text(header, "PatientID"),
        _text(header, "PatientName"),
        _text(header, "StudyDate"),
        _text(header, "StudyDescription"),
        _text(header, "Modality"),
    )
    if not found.study_instance_uid or not found.sop_instance_uid:
        raise NotDicomError("no Study or SOP Instance UID")
    return found


def _after_meta(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) >> 16 != 2


def _after_study(tag: Any, _vr: str | None, _length: int) -> bool:
    return int(tag) > _LAST_TAG


def _text(header: Any, keyword: str) -> str:
    try:
        value = str(header.get(keyword, "") or "")
    except Exception:  # noqa: BLE001  one bad value, say of an unknown character set, does not hide the study
        return ""
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:_LONGEST_TEXT].strip()
