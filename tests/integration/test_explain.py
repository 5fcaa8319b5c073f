"""POST /transcoder/explain in a real Orthanc."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.orthanc_process import OrthancProcess

pytestmark = pytest.mark.orthanc


def test_a_file_is_explained_and_nothing_stored_or_counted(server: OrthancProcess, small_study: list[Path]) -> None:
    dicom = small_study[0].read_bytes()
    answer = server.json("POST", "/transcoder/explain", dicom)
    assert answer["outcome"] == "transcoded"
    assert [rule["decides"] for rule in answer["rules"]] == [True]
    assert answer["facts"]["origin"] == "http"
    assert server.json("GET", "/instances") == []
    assert server.json("GET", "/transcoder/status") == []
    told = server.request("POST", "/transcoder/explain", dicom, headers={"Origin-Of-Instance": "cstore"}).json()
    assert told["facts"]["origin"] == "cstore"


def test_a_bad_question_is_refused_in_one_line(server: OrthancProcess, small_study: list[Path]) -> None:
    assert server.request("POST", "/transcoder/explain", b"").status == 400
    answer = server.request(
        "POST", "/transcoder/explain", small_study[0].read_bytes(), headers={"Origin-Of-Instance": "mars"}
    )
    assert answer.status == 400
    assert "expected one of cstore, http" in answer.json()["Message"]
    assert server.request("GET", "/transcoder/explain").status == 405
    assert server.json("POST", "/transcoder/explain", b"no DICOM")["outcome"] == "kept: not a DICOM file"
