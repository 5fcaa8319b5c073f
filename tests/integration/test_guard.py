"""Files of a kilobyte or two that kill a native Orthanc, and a guarded one that answers HTTP 400."""

from __future__ import annotations

import io
import struct
import time
import zipfile
from pathlib import Path

import pytest
import urllib3
from pydicom.uid import ExplicitVRLittleEndian
from pynetdicom import AE, _config

from harness.orthanc_process import OrthancProcess
from tests.conftest import ServerFactory
from tests.support.nested_files import NESTS, file_around, nested_file

pytestmark = pytest.mark.orthanc

GUARD = {"IngestGuard": {}, "OverwriteInstances": True}
DEEPEST = 32
DEADLY = 100
# C-STORE takes thousands, until DCMTK 3.7, which refuses 64 and more.
DEADLY_AND_STORED = 60
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def post(server: OrthancProcess, content: bytes) -> int:
    """HTTP status; 0 where the connection broke because the server died."""
    try:
        return server.request("POST", "/instances", content).status
    except urllib3.exceptions.HTTPError:
        return 0


def died(server: OrthancProcess) -> bool:
    deadline = time.monotonic() + 60
    while server.running and time.monotonic() < deadline:
        time.sleep(0.02)
    return not server.running


def refusals(server: OrthancProcess) -> list[str]:
    return [line for line in server.log_text().splitlines() if "guard.guard: refused" in line]


@pytest.mark.parametrize("name", NESTS)
def test_a_native_orthanc_dies_of_it(make_server: ServerFactory, name: str) -> None:
    """Where this fails, Orthanc has learnt to survive: then the guard is no longer needed for it."""
    with make_server(bundle=False) as native:
        assert post(native, nested_file(name, DEADLY)) == 0
        assert died(native)


def test_a_guarded_orthanc_answers_400_and_goes_on(make_server: ServerFactory) -> None:
    with make_server(GUARD) as server:
        for name in NESTS:
            for depth in (DEEPEST + 1, DEADLY, 50_000):
                answer = server.request("POST", "/instances", nested_file(name, depth))
                assert answer.status == 400, (name, depth)
            assert server.json("GET", "/instances") == []
        assert len(refusals(server)) == 3 * len(NESTS)
        status = server.json("GET", "/guard/status")
        assert status["refused"]["sequences nested too deeply"] == 3 * len(NESTS)
        assert status["looked_at"] == 3 * len(NESTS)


def test_the_deepest_that_passes_is_survived_by_all_that_reads_it(make_server: ServerFactory) -> None:
    with make_server(GUARD) as server:
        for name in NESTS:
            answer = server.request("POST", "/instances", nested_file(name, DEEPEST))
            assert answer.status == 200, name
            orthanc_id = answer.json()["ID"]
            for route in ("tags", "simplified-tags", "header", "content", "preview", "file"):
                server.request("GET", f"/instances/{orthanc_id}/{route}")
            assert server.request("POST", f"/instances/{orthanc_id}/anonymize", b"{}").status == 200, name
            assert server.request("POST", f"/instances/{orthanc_id}/reconstruct", b"{}").status == 200, name
        assert refusals(server) == []


def test_a_value_of_four_gigabytes_in_a_file_of_a_few_bytes_is_refused_before_memory_is_taken(
    make_server: ServerFactory,
) -> None:
    claim = struct.pack("<HH2sHL", 0x0029, 0x1010, b"OB", 0, 0xFFFFFFF0)
    with make_server(GUARD) as server:
        assert post(server, file_around(claim, ExplicitVRLittleEndian)) == 400
        peak = next(
            line
            for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines()  # type: ignore[union-attr]
            if line.startswith("VmHWM")
        )
        assert int(peak.split()[1]) < 1_000_000, peak
        assert len(refusals(server)) == 1


def send(server: OrthancProcess, path: Path) -> int:
    ae = AE("PYNETDICOM")
    ae.dimse_timeout = 60
    ae.add_requested_context(SECONDARY_CAPTURE, ExplicitVRLittleEndian)
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title="ORTHANC")
    assert association.is_established
    try:
        return int(association.send_c_store(path).get("Status", -1))
    finally:
        association.release()


def test_over_cstore_native_orthanc_takes_it_and_dies_when_somebody_looks(
    make_server: ServerFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads of the DICOM server have larger stacks than those of the HTTP server, so it is stored, and waits."""
    monkeypatch.setattr(_config, "STORE_SEND_CHUNKED_DATASET", True)
    path = tmp_path / "nested.dcm"
    path.write_bytes(nested_file("explicit, undefined length", DEADLY_AND_STORED))
    with make_server(bundle=False) as native:
        assert send(native, path) == 0
        (orthanc_id,) = native.json("GET", "/instances")
        with pytest.raises(urllib3.exceptions.HTTPError):
            native.request("GET", f"/instances/{orthanc_id}/tags")
        assert died(native)
    with make_server(GUARD) as guarded:
        assert send(guarded, path) != 0
        assert guarded.json("GET", "/instances") == []
        assert len(refusals(guarded)) == 1
        assert "received by cstore" in refusals(guarded)[0]


def test_a_zip_with_such_a_file_does_not_kill(make_server: ServerFactory, small_study: list[Path]) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as writer:
        writer.writestr("a good.dcm", small_study[0].read_bytes())
        writer.writestr("b nested.dcm", nested_file("explicit, undefined length", DEADLY))
        writer.writestr("c good.dcm", small_study[1].read_bytes())
    with make_server(GUARD) as server:
        post(server, archive.getvalue())
        assert len(refusals(server)) == 1
        # What Orthanc makes of the rest of an archive with a bad file in it is its own affair: the one before it is
        # stored.
        assert 1 <= len(server.json("GET", "/instances")) <= 2


def test_webdav_is_guarded_as_well(make_server: ServerFactory) -> None:
    with make_server(GUARD) as server:
        assert server.request(
            "PUT", "/webdav/uploads/nested.dcm", nested_file("explicit, undefined length", DEADLY)
        ).status in {200, 201}
        deadline = time.monotonic() + 60
        while not refusals(server) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(refusals(server)) == 1
        assert server.json("GET", "/instances") == []


def test_it_works_beside_the_other_sections_and_shows_in_their_numbers(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    sections = {"IngestGuard": {}, "StageTiming": {}, "IngestTranscoder": {"Default": "JPEGLSLossless"}}
    with make_server(sections) as server:
        assert post(server, nested_file("explicit, undefined length", DEADLY)) == 400
        assert post(server, small_study[0].read_bytes()) == 200
        assert [row["count"] for row in server.json("GET", "/transcoder/status")] == [1]
        metrics = server.request("GET", "/timing/metrics").data.decode()
        assert 'orthanc_bundle_guard_refused_total{reason="sequences nested too deeply"} 1' in metrics
        assert "orthanc_bundle_guard_files_total 2" in metrics
