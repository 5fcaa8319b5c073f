"""Headers of files that wait: read from what Orthanc stores, bounded, and never trusted."""

import io
import struct
import zlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from deferred_delete.studies.dicom_header import HEADER_BYTES, NotDicomError, inflate, read_header
from deferred_delete.studies.image_equality import same_image


def content(name: str) -> bytes:
    path = get_testdata_file(name)
    assert isinstance(path, str)
    return Path(path).read_bytes()


def compressed(plain: bytes) -> bytes:
    """As Orthanc's StorageCompression writes it."""
    return struct.pack("<Q", len(plain)) + zlib.compress(plain)


# One of each encoding of the data set.
FILES = [
    "CT_small.dcm",
    "MR_small_bigendian.dcm",
    "image_dfl.dcm",
    "JPEG2000.dcm",
    "rtplan.dcm",
    "MR_small_implicit.dcm",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("stored", [bytes, compressed], ids=["plain", "compressed"])
def test_headers_are_those_that_pydicom_reads_from_the_whole_file(name: str, stored) -> None:
    plain = content(name)
    expected = dcmread(io.BytesIO(plain), stop_before_pixels=True)
    header = read_header(stored(plain)[:HEADER_BYTES])
    assert header.study_instance_uid == expected.StudyInstanceUID
    assert header.sop_instance_uid == expected.SOPInstanceUID
    assert header.patient_id == str(expected.get("PatientID") or "")
    assert header.modality == str(expected.get("Modality") or "")
    assert inflate(stored(plain)) == plain


def _nested() -> bytes:
    start = content("CT_small.dcm")
    end = start.index(b"\x08\x00\x05\x00")
    sequence = b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    return start[:end] + sequence * 50_000


def _bomb() -> bytes:
    plain = content("image_dfl.dcm")
    meta = plain[: plain.index(b"1.2.840.10008.1.2.1.99") + 22]
    bomb = zlib.compressobj(wbits=-15)
    return meta + bomb.compress(bytes(200_000_000)) + bomb.flush()


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"x" * 1000,
        bytes(128) + b"DICM",
        bytes(128) + b"DICM" + b"\xff" * 5000,
        content("CT_small.dcm")[:400],
        struct.pack("<Q", 2**63) + zlib.compress(b"x"),
        struct.pack("<Q", 10) + b"\x78garbage",
        _nested(),
        _bomb(),
        compressed(bytes(300_000_000)),
    ],
    ids=[
        "empty",
        "text",
        "magic only",
        "all ones",
        "cut short",
        "a lie",
        "damaged",
        "nested",
        "deflated bomb",
        "zlib bomb",
    ],
)
def test_hostile_files_are_refused_with_one_error(hostile: bytes) -> None:
    with pytest.raises(NotDicomError):
        read_header(hostile[:HEADER_BYTES])


@pytest.mark.parametrize("size", [2**63, 9])
def test_a_length_that_is_a_lie_is_refused_before_it_costs_memory(size: int) -> None:
    with pytest.raises(NotDicomError):
        inflate(struct.pack("<Q", size) + zlib.compress(b"0123456789"))


def test_images_are_the_same_only_if_every_element_and_sample_is() -> None:
    original = content("CT_small.dcm")
    dataset = dcmread(io.BytesIO(original))
    dataset.compress("1.2.840.10008.1.2.5", generate_instance_uid=False)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert same_image(original, buffer.getvalue())
    changed = bytearray(original)
    changed[-200] ^= 1
    assert not same_image(original, bytes(changed))
    dataset.PatientComments = "other"
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    assert not same_image(original, buffer.getvalue())
    assert not same_image(original, b"no DICOM")
