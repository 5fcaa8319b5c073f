"""The bundle's storage area and native Orthanc's are one and the same on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload
from tests.conftest import ServerFactory

pytestmark = pytest.mark.orthanc

STORAGE_ONLY = {"DeferredDelete": {"GracePeriod": 0}}


def digests(server: OrthancProcess, orthanc_ids: list[str]) -> list[str]:
    return [hashlib.sha256(server.request("GET", f"/instances/{one}/file").data).hexdigest() for one in orthanc_ids]


@pytest.mark.parametrize("compression", [False, True], ids=["plain", "StorageCompression"])
def test_what_native_orthanc_wrote_the_bundle_reads_and_the_other_way_round(
    make_server: ServerFactory, tmp_path: Path, small_study: list[Path], compression: bool
) -> None:
    folder = tmp_path / "archive"
    core = {"StorageCompression": compression}
    sent = [hashlib.sha256(path.read_bytes()).hexdigest() for path in small_study]

    with make_server(core, bundle=False, folder=folder) as native:
        first = http_upload(native, small_study[:20])
    with make_server(STORAGE_ONLY | core, folder=folder) as bundle:
        assert digests(bundle, first) == sent[:20]
        second = http_upload(bundle, small_study[20:])
        written = bundle.attachment_files()
    with make_server(core, bundle=False, folder=folder) as native:
        assert digests(native, first + second) == sent
        # Native Orthanc deletes what the bundle wrote, down to the folders.
        for one in first + second:
            native.json("DELETE", f"/instances/{one}")
        assert native.attachment_files() == []
        assert not [path for path in native.storage.glob("??") if path.is_dir()]
    assert len(written) >= len(small_study)


def test_a_user_s_own_attachment_and_an_empty_one_are_kept_whole(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server(STORAGE_ONLY) as server:
        (orthanc_id,) = http_upload(server, small_study[:1])
        for name, content in (("1024", b"report"), ("1025", b"")):
            assert server.request("PUT", f"/instances/{orthanc_id}/attachments/{name}", content).status == 200
            assert server.request("GET", f"/instances/{orthanc_id}/attachments/{name}/data").data == content


def test_a_missing_file_is_an_error_for_its_reader_only(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server(STORAGE_ONLY | {"MaximumStorageCacheSize": 0}) as server:
        gone, kept = http_upload(server, small_study[:2])
        uuid = server.json("GET", f"/instances/{gone}/attachments/dicom/info")["Uuid"]
        (server.storage / uuid[:2] / uuid[2:4] / uuid).unlink()
        assert server.request("GET", f"/instances/{gone}/file").status >= 400
        assert server.request("GET", f"/instances/{kept}/file").data == small_study[1].read_bytes()
        assert uuid in server.log_text()
