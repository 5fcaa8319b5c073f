"""pydicom's real files through a real Orthanc, both protocols, every lossless target.

Nothing is lost, and nothing refused that native Orthanc takes.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import UID
from pynetdicom import AE, _config

from harness.orthanc_process import OrthancProcess
from harness.wheel_files import all_files, image_files
from tests.conftest import ALL_SECTIONS, ServerFactory
from tests.support.independent import assert_same_elements, assert_same_pixels, read

pytestmark = pytest.mark.orthanc

# Several of the files are one instance in several transfer syntaxes: each is to be stored, not only the first.
OVERWRITE = {"OverwriteInstances": True}
TARGETS = ["JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless", "RLELossless", "HTJ2KLossless", "HTJ2KLosslessRPCL"]


def upload(server: OrthancProcess, path: Path) -> tuple[int, str]:
    answer = server.request("POST", "/instances", path.read_bytes())
    return answer.status, answer.json()["ID"] if answer.status == 200 else ""


def stored_file(server: OrthancProcess, orthanc_id: str) -> bytes:
    return server.request("GET", f"/instances/{orthanc_id}/file").data


def send_with_pynetdicom(server: OrthancProcess, path: Path) -> int:
    """Proposes just this file's SOP class and transfer syntax; sends the data set as it is on disk."""
    meta = dcmread(path, stop_before_pixels=True).file_meta
    ae = AE("PYNETDICOM")
    ae.dimse_timeout = 60
    ae.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title="ORTHANC")
    assert association.is_established, path.name
    try:
        return int(association.send_c_store(path).get("Status", -1))
    finally:
        association.release()


@pytest.mark.parametrize("target", TARGETS)
def test_every_real_file_is_stored_bit_for_bit_over_http(make_server: ServerFactory, target: str) -> None:
    sections = {"DeferredDelete": {}, "StageTiming": {}, "IngestTranscoder": {"Default": target}}
    native, bundle = make_server(OVERWRITE, bundle=False), make_server(sections | OVERWRITE)
    transcoded = 0
    with native, bundle:
        for path in all_files():
            expected, found = upload(native, path), upload(bundle, path)
            assert found == expected, f"{path.name}: native Orthanc answered {expected}, with the bundle {found}"
            if expected[0] != 200:
                continue
            sent, stored = path.read_bytes(), stored_file(bundle, found[1])
            if hashlib.sha256(stored).digest() == hashlib.sha256(stored_file(native, expected[1])).digest():
                continue
            transcoded += 1
            assert read(stored).file_meta.TransferSyntaxUID.keyword == target, path.name
            assert_same_elements(sent, stored)
            assert_same_pixels(sent, stored)
    assert transcoded >= 7


def test_every_real_image_is_stored_bit_for_bit_over_cstore(
    make_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without decoding and encoding it again, so that Orthanc gets the bytes of the file.
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    transcoded = 0
    # With what it cannot read Orthanc 1.13 answers nothing, and lets go of its sender after this time.
    options = OVERWRITE | {"DicomScpTimeout": 10}
    native, bundle = make_server(options, bundle=False), make_server(ALL_SECTIONS | options)
    with native, bundle:
        for path in image_files():
            status = send_with_pynetdicom(native, path)
            assert send_with_pynetdicom(bundle, path) == status, path.name
            if status != 0:
                continue
            sent = path.read_bytes()
            (found,) = bundle.json("POST", "/tools/lookup", str(read(sent).SOPInstanceUID).encode())
            stored = stored_file(bundle, found["ID"])
            received = stored_file(native, found["ID"])
            if UID(read(stored).file_meta.TransferSyntaxUID) == read(received).file_meta.TransferSyntaxUID:
                assert read(stored).PixelData == read(received).PixelData, path.name
                continue
            transcoded += 1
            assert_same_elements(received, stored)
            assert_same_pixels(received, stored)
    assert transcoded >= 7


def test_orthanc_goes_on_reading_what_was_transcoded(server: OrthancProcess, small_study: list[Path]) -> None:
    """The core's own decoder, its tags and its pages work on transcoded instances."""
    status, orthanc_id = upload(server, small_study[0])
    assert status == 200
    assert read(stored_file(server, orthanc_id)).file_meta.TransferSyntaxUID.keyword == "JPEGLSLossless"
    assert server.request("GET", f"/instances/{orthanc_id}/preview").status == 200
    assert server.json("GET", f"/instances/{orthanc_id}/simplified-tags")["Modality"] == "CT"
