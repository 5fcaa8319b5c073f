"""A codec that lies, in a real Orthanc: what is not proven is never stored, whether the storage area is ours or not."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess
from tests.conftest import ServerFactory
from tests.support.independent import assert_same_pixels
from tests.support.patched_bundle import patch_bundle

pytestmark = pytest.mark.orthanc

SECTIONS: dict[str, Any] = {"IngestTranscoder": {"Default": "JPEGLosslessSV1"}, "StageTiming": {}}
OURS: dict[str, Any] = {"DeferredDelete": {"GracePeriod": 0}}

# A decoder that returns one wrong bit, but not in the self-test at start nor for the first instance, which is always
# verified in the callback; 200 ms late, so that writes end first.
LYING = """
import time
from transcoder.codecs.lossless import JpegLossless

honest, calls = JpegLossless.decode, []

def decode(self, stream, layout):
    image = honest(self, stream, layout)
    calls.append(0)
    if len(calls) > 2:
        time.sleep(0.2)
        image[-1, -1] ^= 1
    return image

JpegLossless.decode = decode
"""


def lying(server: OrthancProcess) -> OrthancProcess:
    patch_bundle(server, LYING)
    return server


def outcomes(server: OrthancProcess) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in server.json("GET", "/transcoder/status")}


def test_with_our_storage_area_the_first_is_refused_and_the_next_kept_as_received(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with lying(make_server(SECTIONS | OURS)) as server:
        server.json("POST", "/instances", small_study[1].read_bytes())
        answer = server.request("POST", "/instances", small_study[0].read_bytes())
        assert answer.status >= 400
        assert server.json("GET", "/statistics")["CountInstances"] == 1
        assert outcomes(server) == {"transcoded": 1, "refused: verification failed": 1}
        assert "transcoded pixels differ from those received" in server.log_text()

        # The sender has it still, and sends it again.
        stored = server.json("POST", "/instances", small_study[0].read_bytes())
        assert server.request("GET", f"/instances/{stored['ID']}/file").data == small_study[0].read_bytes()
        assert outcomes(server)["kept: verification failed"] == 1
        # What was written before the verdict went with the deletions: two images and their headers are left.
        deadline = time.monotonic() + 60
        while len(server.attachment_files()) > 4 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert len(server.attachment_files()) == 4
        assert server.json("GET", "/timing/stages")["protocols"][0]["failed_writes"] == 1


def test_an_instance_that_a_filter_refused_does_not_answer_for_what_its_thread_stores_next(
    make_server: ServerFactory, small_study: list[Path], tmp_path: Path
) -> None:
    unwanted = dcmread(small_study[0], stop_before_pixels=True).SOPInstanceUID
    script = tmp_path / "filter.lua"
    script.write_text(f"function ReceivedInstanceFilter(tags) return tags.SOPInstanceUID ~= '{unwanted}' end")
    with lying(make_server(SECTIONS | OURS | {"HttpThreadsCount": 1, "LuaScripts": [str(script)]})) as server:
        stored = server.json("POST", "/instances", small_study[1].read_bytes())
        server.json("POST", "/instances", small_study[0].read_bytes())
        assert server.json("GET", "/statistics")["CountInstances"] == 1
        answer = server.request("PUT", f"/instances/{stored['ID']}/attachments/1024", b"report")
        assert answer.status == 200, answer.data
        # When its thread receives the next, it is known that the one before was never stored.
        server.json("POST", "/instances", small_study[0].read_bytes())
        assert outcomes(server) == {"transcoded": 1, "received and never stored": 1}


def test_over_c_store_the_sender_hears_of_it(make_server: ServerFactory, small_study: list[Path]) -> None:
    with lying(make_server(SECTIONS | OURS)) as server:
        senders.storescu(server, small_study[1:2])
        with pytest.raises(OrthancError):
            senders.storescu(server, small_study[:1])
        assert server.json("GET", "/statistics")["CountInstances"] == 1
        senders.storescu(server, small_study[:1])
        assert server.json("GET", "/statistics")["CountInstances"] == 2


def test_with_orthancs_storage_area_the_original_is_kept_at_once(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with lying(make_server(SECTIONS)) as server:
        server.json("POST", "/instances", small_study[1].read_bytes())
        stored = server.json("POST", "/instances", small_study[0].read_bytes())
        assert server.request("GET", f"/instances/{stored['ID']}/file").data == small_study[0].read_bytes()
        assert outcomes(server) == {"transcoded": 1, "kept: verification failed": 1}


@pytest.mark.parametrize("compressed", [False, True], ids=["", "StorageCompression"])
def test_eight_clients_at_once_each_wait_for_their_own_proof(
    make_server: ServerFactory, small_study: list[Path], compressed: bool
) -> None:
    with make_server(SECTIONS | OURS | {"StorageCompression": compressed}) as server:
        with ThreadPoolExecutor(8) as pool:
            stored = list(pool.map(lambda path: server.json("POST", "/instances", path.read_bytes()), small_study))
        assert outcomes(server) == {"transcoded": len(small_study)}
        for answer, path in list(zip(stored, small_study, strict=True))[::8]:
            sent, back = path.read_bytes(), server.request("GET", f"/instances/{answer['ID']}/file").data
            assert_same_pixels(sent, back)


def test_helpers_end_with_orthanc(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server(SECTIONS | OURS) as server:
        senders.http_upload(server, small_study, clients=4)
        assert server.stop() == 0
