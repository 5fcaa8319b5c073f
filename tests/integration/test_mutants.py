"""Mutated real files: Orthanc with the bundle takes and refuses what native Orthanc does.

It also outlives what native Orthanc dies of.

A few hundred in the suite; `MUTANTS=5000 MUTANTS_SEED=21 make test PYTEST_ARGUMENTS="tests/integration/test_mutants.py
--timeout 0 -s"` for more.
"""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.pixels import pixel_array
from pydicom.uid import JPEGLSLossless
from pynetdicom import AE

from guard import Guard, Settings
from harness.orthanc_process import OrthancProcess
from harness.wheel_files import image_files
from tests.conftest import ALL_SECTIONS, ServerFactory
from tests.support.fuzz import choices, mutants
from tests.support.fuzz_oracle import assert_same_raw_elements
from tests.support.independent import assert_same_pixels, read

pytestmark = [pytest.mark.orthanc, pytest.mark.filterwarnings("ignore::UserWarning")]

COUNT = int(os.environ.get("MUTANTS", "300"))
SEED = int(os.environ.get("MUTANTS_SEED", "20"))
COUNT_CSTORE = max(40, COUNT // 10)
OVERWRITE = {"OverwriteInstances": True}
DIED = 0
NATIVE_END = {200: "stored by native", DIED: "deadly to native"}
# Orthanc answers these later than it has begun to die.
DEATH_S = 5.0


def post(server: OrthancProcess, dicom: bytes) -> tuple[int, str]:
    """HTTP status and instance; DIED where the server did, after which it is started again."""
    try:
        answer = server.request("POST", "/instances", dicom)
    except urllib3.exceptions.HTTPError:
        deadline = time.monotonic() + DEATH_S
        while server.running and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not server.running
        server.start()
        return DIED, ""
    return answer.status, answer.json()["ID"] if answer.status == 200 else ""


def file_of(server: OrthancProcess, orthanc_id: str) -> bytes:
    return server.request("GET", f"/instances/{orthanc_id}/file").data


def assert_same_image(what: str, sent: bytes, stored: bytes) -> None:
    """What is stored is JPEG-LS with the same elements and pixels, if pydicom can read what was sent at all."""
    try:
        before = read(sent)
        pixel_array(before, raw=True)
    except Exception:  # noqa: BLE001 - KeyError, ValueError, what a broken character set or header makes of it
        return
    after = read(stored)
    assert after.file_meta.TransferSyntaxUID == JPEGLSLossless, what
    assert_same_raw_elements(what, before, after)
    assert_same_pixels(sent, stored)


def test_mutated_files_are_stored_or_refused_as_native_orthanc_does(make_server: ServerFactory) -> None:
    native, bundle = make_server(OVERWRITE, bundle=False), make_server(ALL_SECTIONS | OVERWRITE)
    guard, ends = Guard(Settings()), Counter[str]()
    with native, bundle:
        for number, (name, dicom) in enumerate(itertools.islice(mutants(SEED), COUNT)):
            what = f"mutant {number} of seed {SEED}, of {name}"
            status, orthanc_id = found = post(bundle, dicom)
            assert status != DIED, what
            expected = post(native, dicom)
            if refusal := guard.refusal(dicom, "http"):
                assert status == 400, f"{what}: {status} where the guard refuses"
                ends[f"refused by the guard, {NATIVE_END.get(expected[0], 'refused by native')}"] += 1
                # A nest less deep than what kills native Orthanc is the one thing that it takes and the guard does not.
                assert expected[0] != 200 or "nested" in refusal, (
                    f"{what}: native Orthanc takes it, the guard: {refusal}"
                )
                continue
            assert found == expected, f"{what}: {found} where native Orthanc answered {expected}"
            if status != 200:
                ends["refused by both"] += 1
                continue
            kept, stored = file_of(native, orthanc_id), file_of(bundle, orthanc_id)
            ends["taken by both" if kept == stored else "transcoded"] += 1
            if kept != stored:
                assert_same_image(what, dicom, stored)
        assert native.running
        assert bundle.running
    print(f"HTTP, seed {SEED}: {dict(ends)}")
    assert min(ends["taken by both"], ends["refused by both"], ends["transcoded"]) > 5, ends


def mutated_data_sets(seed: int) -> Iterator[tuple[Path, bytes]]:
    """Endlessly: a file, and its bytes with the same file meta information and a mutated data set of an even length."""
    paths = image_files()
    kept = {path: 132 + meta_bytes(path) for path in paths}
    for path, mutate in choices(seed, paths):
        content = path.read_bytes()
        changed = mutate(content[kept[path] :])
        yield path, content[: kept[path]] + changed + b"\0" * (len(changed) % 2)


def meta_bytes(path: Path) -> int:
    """The length of the file meta information, its group length's element included."""
    return 12 + int(read_file_meta_info(path).FileMetaInformationGroupLength)


def send(server: OrthancProcess, path: Path, like: Path) -> int:
    """Send a file as it lies on the disk; its status, -1 where the data set cannot be read.

    No Orthanc answers such a one, nor does it end the association: without a look at its log the sender would wait for
    a timeout.
    """
    meta = dcmread(like, stop_before_pixels=True).file_meta
    ae = AE("MUTANT")
    ae.add_requested_context(meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID)
    begin = server.log_path.stat().st_size
    association = ae.associate("127.0.0.1", server.dicom_port, ae_title="ORTHANC")
    assert association.is_established, f"{path.name}: {server.running}"
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.02):
            with server.log_path.open("rb") as log:
                log.seek(begin)
                if b"Store SCP Failed" in log.read():
                    association.dimse.msg_queue.put((None, None))  # what a timeout gives
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        return int(association.send_c_store(path).get("Status", -1))
    finally:
        over.set()
        watcher.join()
        association.release()


def taken(server: OrthancProcess) -> dict[str, bytes]:
    """Every instance there is, by identifier; they are deleted."""
    found = {}
    for orthanc_id in server.json("GET", "/instances"):
        found[orthanc_id] = file_of(server, orthanc_id)
        server.request("DELETE", f"/instances/{orthanc_id}")
    return found


def test_mutated_data_sets_over_cstore_are_stored_or_refused_as_native_orthanc_does(
    make_server: ServerFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("pynetdicom._config.STORE_SEND_CHUNKED_DATASET", True)
    native, bundle = make_server(bundle=False), make_server(ALL_SECTIONS)
    ends, file = Counter[str](), tmp_path / "mutant.dcm"
    with native, bundle:
        for number, (path, dicom) in enumerate(itertools.islice(mutated_data_sets(SEED), COUNT_CSTORE)):
            what = f"mutant {number} of seed {SEED}, of {path.name}"
            file.write_bytes(dicom)
            expected, status = send(native, file, path), send(bundle, file, path)
            assert status == expected, f"{what}: {status:#x} where native Orthanc answered {expected:#x}"
            kept, stored = taken(native), taken(bundle)
            assert kept.keys() == stored.keys(), what
            ends["refused by both" if not kept else "taken by both" if kept == stored else "transcoded"] += 1
            for orthanc_id in kept:
                if kept[orthanc_id] != stored[orthanc_id] and JPEGLSLossless.encode() in stored[orthanc_id][:1000]:
                    assert_same_image(what, kept[orthanc_id], stored[orthanc_id])
    print(f"C-STORE, seed {SEED}: {dict(ends)}")
    assert len(ends) == 3, ends
