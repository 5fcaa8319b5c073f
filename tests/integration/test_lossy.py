"""Rules that lose something, in a real Orthanc: what it stores, what it answers, and what a restore makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread

from harness import senders
from harness.orthanc_process import OrthancProcess
from tests.conftest import ServerFactory
from tests.integration.test_deletion import study_of
from tests.integration.test_restore import ask_back, restored, uid_of
from tests.integration.test_studies import wait_for
from tests.support.independent import decoded, decoded_by_dcmtk, read
from tests.support.lossy_samples import by_pydicom

pytestmark = pytest.mark.orthanc

NEAR: dict[str, Any] = {"Name": "near", "Action": "JPEGLSNearLossless", "Lossy": {"MaximumError": 2}}
WAVELET: dict[str, Any] = {"Name": "wavelet", "Action": "JPEG2000", "Lossy": {"MaximumRmsError": 4}}


def sections(*rules: dict[str, Any], **others: Any) -> dict[str, Any]:
    return {"IngestTranscoder": {"Rules": list(rules)}, "StageTiming": {}} | others


def outcomes(server: OrthancProcess) -> dict[tuple[str, str], int]:
    return {(row["rule"], row["reason"]): row["count"] for row in server.json("GET", "/transcoder/status")}


def file_of(server: OrthancProcess, orthanc_id: str) -> bytes:
    return bytes(server.request("GET", f"/instances/{orthanc_id}/file").data)


@pytest.mark.parametrize("rule", [NEAR, WAVELET], ids=["near", "wavelet"])
@pytest.mark.parametrize("ours", [False, True], ids=["Orthanc's storage area", "ours"])
def test_over_http_another_instance_is_stored_and_only_once(
    make_server: ServerFactory, small_study: list[Path], rule: dict[str, Any], ours: bool
) -> None:
    others: dict[str, Any] = {"DeferredDelete": {"GracePeriod": 3600}} if ours else {}
    sent = small_study[3].read_bytes()
    with make_server(sections(rule, **others)) as server:
        told = server.json("POST", "/transcoder/explain", sent)
        assert told["outcome"] == "transcoded with loss"
        stored = server.json("POST", "/instances", sent)
        assert stored["Status"] == "Success"
        assert server.json("POST", "/instances", sent)["Status"] == "AlreadyStored"
        assert server.json("GET", "/instances") == [stored["ID"]]
        assert outcomes(server) == {(rule["Name"], "transcoded with loss"): 2}

        back = file_of(server, stored["ID"])
        before, after = read(sent), read(back)
        assert len(back) == told["bytes_out"] < len(sent)
        # What Orthanc tells others: in its index, and of DICOM.
        tags = server.json("GET", f"/instances/{stored['ID']}/simplified-tags")
        assert tags["SOPInstanceUID"] == after.SOPInstanceUID != before.SOPInstanceUID
        assert (tags["LossyImageCompression"], tags["ImageType"].split("\\")[0]) == ("01", "DERIVED")
        assert server.json("POST", "/tools/lookup", str(before.SOPInstanceUID).encode()) == []
        assert len(server.json("POST", "/tools/lookup", str(after.SOPInstanceUID).encode())) == 1
        assert after.SourceImageSequence[0].ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert after.StudyInstanceUID == before.StudyInstanceUID
        errors = by_pydicom(back) - decoded(sent).astype(np.int64)
        if rule is NEAR:
            assert np.abs(errors).max() == 2
            assert np.array_equal(decoded(decoded_by_dcmtk(back, "dcmdjpls")).astype(np.int64), by_pydicom(back))
        else:
            assert np.sqrt(np.mean(errors**2.0)) <= 4
        # Orthanc's own decoder has no JPEG 2000 (GDCM's plugin does).
        assert server.request("GET", f"/instances/{stored['ID']}/preview").status == (200 if rule is NEAR else 415)
        wait_for(lambda: f"rule {rule['Name']} stores {rule['Action']} with loss" in server.log_text())


def test_over_c_store_the_sender_gets_success_and_a_resend_adds_nothing(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    rule = NEAR | {"Origin": "cstore"}
    with make_server(sections(rule, DeferredDelete={"GracePeriod": 3600})) as server:
        for _ in range(2):
            senders.storescu(server, small_study[:6])
        found = server.json("GET", "/instances?expand")
        assert len(found) == 6
        sent = {str(dcmread(path).SOPInstanceUID) for path in small_study[:6]}
        sources = set()
        for one in found:
            after = read(file_of(server, one["ID"]))
            assert after.LossyImageCompressionMethod == "ISO_14495_1"
            sources.add(after.SourceImageSequence[0].ReferencedSOPInstanceUID)
        assert sources == sent
        assert outcomes(server) == {("near", "transcoded with loss"): 12}
        # Another origin: as it came.
        stored = server.json("POST", "/instances", small_study[7].read_bytes())
        assert file_of(server, stored["ID"]) == small_study[7].read_bytes()


def test_a_lossy_target_without_a_bound_stops_the_start_in_one_line(make_server: ServerFactory) -> None:
    server = make_server({"IngestTranscoder": {"Rules": [{"Action": "JPEG2000"}]}})
    with pytest.raises(Exception, match="ended"):
        server.start()
    lines = [line for line in server.log_text().splitlines() if "refuses to start" in line]
    assert len(lines) == 1
    assert "IngestTranscoder.Rules[0].Lossy: JPEG2000 loses information, and the rule says nothing of it" in lines[0]


def test_a_restore_never_takes_a_loss_for_what_was_deleted(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    deletion = {"DeferredDelete": {"GracePeriod": 3600}}
    folder = tmp_path / "archive"
    study = uid_of(small_study[0])
    with make_server(deletion, folder=folder) as server:
        uploaded = senders.http_upload(server, small_study[:4])
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")

    with make_server(sections(NEAR, **deletion), folder=folder) as server:
        ask_back(server, study)
        ended = restored(server, study)
        assert (ended["state"], ended["outcomes"]) == ("incomplete", {"unproven": 4})
        assert ended["files_held"] >= 4
        (copies,) = server.json("GET", "/studies")
        server.json("DELETE", f"/studies/{copies}")

    with make_server(sections(NEAR | {"Origin": "cstore"}, **deletion), folder=folder) as server:
        ask_back(server, study)
        ended = restored(server, study)
        assert ended["outcomes"].get("restored", 0) >= 4, ended
        for path, orthanc_id in zip(small_study[:4], uploaded, strict=True):
            assert file_of(server, orthanc_id) == path.read_bytes()


def test_what_was_stored_with_loss_comes_back_as_it_was(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server(sections(WAVELET, DeferredDelete={"GracePeriod": 3600})) as server:
        uploaded = senders.http_upload(server, small_study[:4])
        before = [file_of(server, orthanc_id) for orthanc_id in uploaded]
        server.json("DELETE", f"/studies/{study_of(server, uploaded[0])}")
        ask_back(server, uid_of(small_study[0]))
        ended = restored(server, uid_of(small_study[0]))
        assert (ended["state"], ended["outcomes"]) == ("done", {"restored": 4})
        assert [file_of(server, orthanc_id) for orthanc_id in uploaded] == before
