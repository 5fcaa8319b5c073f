"""Mutated real files: Orthanc with the bundle takes and refuses what native Orthanc does."""

from __future__ import annotations

import itertools

import pytest

from tests.conftest import ALL_SECTIONS, ServerFactory
from tests.fuzz import mutants
from tests.independent import assert_same_pixels, read

pytestmark = pytest.mark.orthanc

COUNT = 300


def test_mutated_files_are_stored_or_refused_as_native_orthanc_does(make_server: ServerFactory) -> None:
    native = make_server({"OverwriteInstances": True}, bundle=False)
    bundle = make_server(ALL_SECTIONS | {"OverwriteInstances": True})
    taken = refused = transcoded = 0
    # Native Orthanc dies of nests; tests/integration/test_guard.py has them.
    flat = (mutant for mutant in mutants(20) if not mutant[0].startswith("nest"))
    with native, bundle:
        for number, (name, dicom) in enumerate(itertools.islice(flat, COUNT)):
            expected, found = (server.request("POST", "/instances", dicom) for server in (native, bundle))
            # What the guard refuses with 400, Orthanc may refuse in another way: 404 for a file without identifiers.
            assert found.status == expected.status or (found.status, expected.status) == (400, 404), (
                f"mutant {number}, of {name}: {found.status} where native Orthanc answered {expected.status}"
            )
            if expected.status != 200:
                refused += 1
                continue
            taken += 1
            orthanc_id = expected.json()["ID"]
            assert found.json()["ID"] == orthanc_id, f"mutant {number}, of {name}"
            kept, stored = (server.request("GET", f"/instances/{orthanc_id}/file").data for server in (native, bundle))
            if kept != stored:
                transcoded += 1
                assert read(stored).file_meta.TransferSyntaxUID.keyword == "JPEGLSLossless"
                if transcoded % 5 == 1:
                    assert_same_pixels(dicom, stored)
        assert native.running
        assert bundle.running
    assert min(taken, refused, transcoded) > 5, (taken, refused, transcoded)
