"""What a real Orthanc's routes answer is what GET /bundle/openapi.json says."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydicom import dcmread

from harness.orthanc_process import OrthancProcess
from harness.phantom import make_study
from harness.senders import http_upload, storescu
from tests.conftest import ALL_SECTIONS, ServerFactory
from tests.integration.test_audit import attachment_of, file_of, lose_one
from tests.integration.test_deletion import study_of
from tests.integration.test_studies import ended, limit_deletions, wait_for

pytestmark = pytest.mark.orthanc

SECTIONS = ALL_SECTIONS | {
    "DeferredDelete": {"GracePeriod": 3600},
    "IngestTranscoder": {"Default": "JPEGLSLossless", "Recompress": True},
}


class Told:
    """A server's document, and answers held against it: each field is there, and none besides."""

    def __init__(self, server: OrthancProcess) -> None:
        self.server = server
        self.document = server.json("GET", "/bundle/openapi.json")
        self.asked: set[tuple[str, str]] = set()
        self.components = copy.deepcopy(self.document["components"])
        for schema in self.components["schemas"].values():
            if "properties" in schema:
                schema["additionalProperties"] = False
                schema["required"] = list(schema["properties"])

    def ask(self, method: str, path: str, body: bytes | None = None, query: str = "") -> tuple[int, Any]:
        """The status and the answer, after it was compared with the document."""
        answer = self.server.request(method, path + query, body)
        responses = self.document["paths"][path][method.lower()]["responses"]
        content = responses["200" if answer.status == 200 else "default"]["content"]
        self.asked.add((method, path))
        # Orthanc 1.12 sends a refusal as text/plain; each media type of it has the same schema.
        described = content[answer.headers["Content-Type"]]
        if described == {}:
            return answer.status, answer.data
        found = json.loads(answer.data)
        Draft202012Validator({**described["schema"], "components": self.components}).validate(found)
        return answer.status, found

    def operations(self, method: str) -> set[tuple[str, str]]:
        return {(method, path) for path, each in self.document["paths"].items() if method.lower() in each}


def test_each_answer_is_as_the_document_says(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    server = make_server(SECTIONS)
    most = limit_deletions(server)
    most.parent.mkdir(parents=True, exist_ok=True)
    most.write_text("0")
    with server:
        told = Told(server)
        OpenAPIV31SpecValidator(told.document).validate()
        first = http_upload(server, small_study[:10])
        storescu(server, small_study[10:12])
        other = study_of(server, http_upload(server, make_study(tmp_path / "other", slices=3, side=64, seed=8))[0])
        lose_one(server, first[0])

        # Each route in a state in which it has something to tell.
        told.ask("POST", "/deferred-delete/audit")
        wait_for(lambda: told.ask("GET", "/deferred-delete/audit")[1]["state"] == "done")
        assert told.ask("GET", "/deferred-delete/audit")[1]["report"]["findings"]
        identifiers = json.dumps([other]).encode()
        assert told.ask("POST", "/deferred-delete/studies", identifiers)[1]["queued"] == 1
        assert told.ask("POST", "/deferred-delete/studies/cancel", identifiers)[1][0]["state"] == "cancelled"
        most.write_text("1000")
        doomed = file_of(server, attachment_of(server, first[1], "dicom"))
        server.json("DELETE", f"/studies/{study_of(server, first[0])}")
        told.ask("POST", "/deferred-delete/pause")
        wait_for(lambda: told.ask("GET", "/deferred-delete/studies/deleted")[1]["studies"])
        study = json.dumps({"StudyInstanceUID": str(dcmread(small_study[0], stop_before_pixels=True).StudyInstanceUID)})
        assert told.ask("POST", "/deferred-delete/restore", study.encode())[0] == 200
        wait_for(lambda: told.ask("GET", "/deferred-delete/restore")[1][0]["ended_at"])
        told.ask("POST", "/deferred-delete/restore/cancel", study.encode())
        told.ask("POST", "/deferred-delete/restore/release", study.encode())
        doomed.unlink()
        (doomed / "in the way").mkdir(parents=True)
        told.ask("POST", "/deferred-delete/drain")
        told.ask("POST", "/deferred-delete/resume")
        wait_for(lambda: told.ask("GET", "/deferred-delete/failures")[1])
        told.ask("POST", "/deferred-delete/retry")
        told.ask("POST", "/transcoder/explain", small_study[0].read_bytes())
        told.ask("GET", "/timing/stages", query="?window=5")

        for method, path in sorted(told.operations("GET")):
            status, answer = told.ask(method, path)
            assert status == 200, path
            assert answer not in ([], {}), f"{path} told nothing"
        assert told.ask("GET", "/deferred-delete/failures", query="?limit=0")[0] == 400
        told.ask("POST", "/timing/reset")
        assert told.asked == told.operations("GET") | told.operations("POST")
        assert ended(server, other)["state"] == "cancelled"
