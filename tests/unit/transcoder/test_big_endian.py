"""Big endian converted to little: compared with DCMTK's conversion, with pydicom's reading, and by hand."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.pixels import pixel_array

from tests.support.readers import decoded
from tests.support.samples import TARGETS, data_set, element, file_of, image, part10, wheel_files, with_furniture
from transcoder import Reason, Settings, Transcoder
from transcoder.input.big_endian import to_little_endian
from transcoder.input.file_meta import read_file_meta
from transcoder.outcome import KeptError

BIG = {
    name: path
    for name, path in wheel_files().items()
    if path.suffix == ".dcm"
    and path.read_bytes()[128:132] == b"DICM"
    and b"UI\x14\x001.2.840.10008.1.2.2\0" in path.read_bytes()[:500]
}


def data_set_of(dicom: bytes) -> memoryview:
    return memoryview(dicom)[read_file_meta(memoryview(dicom)).end :]


def test_the_wheel_has_some() -> None:
    assert len(BIG) >= 5


def by_dcmtk(dicom: bytes, syntax: str) -> bytes:
    """What dcmconv makes of a file: `+tb` big endian, `+te` little."""
    path = shutil.which("dcmconv")
    if path is None:
        pytest.skip("dcmconv is not installed")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "in.dcm"), Path(folder, "out.dcm")
        source.write_bytes(dicom)
        subprocess.run([path, syntax, str(source), str(target)], check=True, capture_output=True, timeout=60)
        return target.read_bytes()


def elements(data_set: memoryview | bytes) -> list[tuple[int, str, object]]:
    """Tag, VR and raw value of every element but group lengths, nested ones in their place."""

    def flat(ds: pydicom.Dataset) -> list[tuple[int, str, object]]:
        return [
            (int(one.tag), one.VR, [flat(item) for item in one.value] if one.VR == "SQ" else one.value)
            for one in ds
            if one.tag.element != 0
        ]

    return flat(pydicom.dcmread(io.BytesIO(file_of(bytes(data_set))), force=True))


@pytest.mark.parametrize("name", BIG)
def test_real_files_become_what_dcmtk_makes_of_them(name: str) -> None:
    dicom = BIG[name].read_bytes()
    assert elements(to_little_endian(data_set_of(dicom))) == elements(data_set_of(by_dcmtk(dicom, "+te")))


@pytest.mark.parametrize("target", TARGETS)
def test_images_come_back_as_they_were(target: str) -> None:
    transcoder = Transcoder(Settings(default=target))
    images = [
        data_set(image(allocated=16, stored=12), stored=12),
        data_set(image(allocated=16, signed=True)),
        data_set(image(allocated=8)),
        data_set(image(samples=3, allocated=8), planar=1),
        data_set(np.stack([image(), image()[::-1]]), frames=2),
    ]
    for ds in images:
        little = part10(with_furniture(ds))
        outcome = transcoder.transcode(by_dcmtk(little, "+tb"), "http")
        assert outcome.dicom is not None, (outcome.reason, outcome.detail)
        sent, stored = pydicom.dcmread(io.BytesIO(little)), pydicom.dcmread(io.BytesIO(outcome.dicom))
        expected = pixel_array(sent, raw=True).tobytes()
        for reader, raw in decoded(outcome.dicom, target).items():
            assert raw[: len(expected)] == expected, reader
        for one in (sent, stored):
            del one.PixelData
            one.pop("PlanarConfiguration", None)
        assert elements_of(sent) == elements_of(stored)


def elements_of(ds: pydicom.Dataset) -> list[tuple[int, object]]:
    return [(int(one.tag), one.value) for one in ds if one.VR != "SQ"]


def turned(*pieces: bytes) -> Reason:
    with pytest.raises(KeptError) as caught:
        to_little_endian(memoryview(b"".join(pieces)))
    return caught.value.reason


def big(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    if vr in {b"SQ", b"UN", b"OW"}:
        return struct.pack(">HH2sHL", tag >> 16, tag & 0xFFFF, vr, 0, size) + value
    return struct.pack(">HH2sH", tag >> 16, tag & 0xFFFF, vr, size) + value


def test_each_number_is_turned_by_its_own_width_and_text_is_not() -> None:
    assert to_little_endian(memoryview(big(0x00280010, b"US", b"\1\2\3\4"))) == element(0x00280010, b"US", b"\2\1\4\3")
    assert to_little_endian(memoryview(big(0x00280009, b"AT", b"\0\x18\x10\x63"))) == element(
        0x00280009, b"AT", b"\x18\0\x63\x10"
    )
    assert to_little_endian(memoryview(big(0x00089459, b"FL", b"\1\2\3\4"))) == element(0x00089459, b"FL", b"\4\3\2\1")
    assert to_little_endian(memoryview(big(0x00189073, b"FD", b"\1\2\3\4\5\6\7\x08"))) == element(
        0x00189073, b"FD", b"\x08\7\6\5\4\3\2\1"
    )
    assert to_little_endian(memoryview(big(0x00100010, b"PN", b"Doe^Jane"))) == element(0x00100010, b"PN", b"Doe^Jane")


def test_what_cannot_be_turned_with_certainty_is_kept() -> None:
    assert turned(big(0x00291010, b"UN", b"\1\2")) is Reason.BIG_ENDIAN
    assert to_little_endian(memoryview(big(0x00291010, b"UN", b""))) == element(0x00291010, b"UN", b"")
    assert turned(big(0x7FE00010, b"OW", b"", 0xFFFFFFFF)) is Reason.BIG_ENDIAN
    assert turned(big(0x00280010, b"US", b"\1\2\3")) is Reason.MALFORMED
    assert turned(big(0x00280010, b"US", b"\1\2", 4)) is Reason.MALFORMED
    assert turned(big(0x00280010, b"XX", b"\1\2")) is Reason.MALFORMED
    assert turned(b"\0\x28\0") is Reason.MALFORMED
    assert turned(big(0x00081140, b"SQ", struct.pack(">HHL", 0xFFFE, 0xE000, 100), 8)) is Reason.MALFORMED
    assert turned(big(0x00081140, b"SQ", big(0x00280010, b"US", b"\1\2"))) is Reason.MALFORMED
    nest = struct.pack(">HH2sHLHHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF, 0xFFFE, 0xE000, 0xFFFFFFFF)
    assert turned(nest * 100_000) is Reason.TOO_DEEP
