"""Recompress in a real Orthanc: what comes compressed, and a decoder process that lives and dies beside it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.orthanc_process import OrthancError, OrthancProcess
from tests.conftest import ServerFactory
from tests.support.independent import assert_same_elements, assert_same_pixels, read
from tests.support.samples import SYNTAX, data_set, part10, with_furniture
from tests.unit.transcoder.test_decoder_process import gone
from transcoder import Settings, Transcoder

pytestmark = pytest.mark.orthanc


def sections(target: str, **more: Any) -> dict[str, Any]:
    return {
        "DeferredDelete": {"GracePeriod": 0},
        "StageTiming": {},
        "IngestTranscoder": {"Default": target, "Recompress": True} | more,
        "OverwriteInstances": True,
    }


def scan(frames: int = 1, *, colour: bool = False) -> np.ndarray[Any, Any]:
    """Like a scanner's: soft shapes with noise, which RLE hardly compresses and wavelets do."""
    y, x = np.mgrid[0:300, 0:260]
    shapes = 1000 + 400 * np.sin(x / 40) * np.cos(y / 30)
    pixels = (shapes + np.random.default_rng(7).normal(0, 6, shapes.shape)).astype("<u2")
    if colour:
        return np.stack([(pixels >> shift).astype("u1") for shift in (3, 4, 5)], axis=-1)
    return np.stack([pixels] * frames) if frames > 1 else pixels


def sample(source: str, *, frames: int = 1, colour: bool = False) -> bytes:
    """A file in a compressed syntax, with private tags, sequences, an icon and trailing padding."""
    native = data_set(scan(frames, colour=colour), stored=8 if colour else 12, frames=frames if frames > 1 else None)
    native.StudyInstanceUID, native.SeriesInstanceUID, native.PatientID = "1.2.3.1", "1.2.3.2", "R"
    outcome = Transcoder(Settings(default=source)).transcode(part10(with_furniture(native)), "http")
    assert outcome.dicom is not None
    return outcome.dicom


def upload(server: OrthancProcess, dicom: bytes) -> bytes:
    """What Orthanc has of it afterwards."""
    return server.request("GET", f"/instances/{server.json('POST', '/instances', dicom)['ID']}/file").data


def reasons(server: OrthancProcess) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in server.json("GET", "/transcoder/status")}


def decoder(server: OrthancProcess) -> dict[str, int]:
    state: dict[str, int] = server.json("GET", "/transcoder/decoder")
    return state


def test_compressed_files_are_stored_in_the_target_s_syntax(make_server: ServerFactory) -> None:
    done = 0
    for target in ("JPEGLSLossless", "HTJ2KLossless"):
        with make_server(sections(target)) as server:
            for source in ("RLELossless", "JPEG2000Lossless", "JPEGLSLossless", "JPEGLosslessSV1"):
                for kind in ({}, {"frames": 3}, {"colour": True}):
                    sent = sample(source, **kind)  # type: ignore[arg-type]
                    stored = upload(server, sent)
                    if stored == sent:
                        continue
                    done += 1
                    assert read(stored).file_meta.TransferSyntaxUID == SYNTAX[target]
                    assert_same_elements(sent, stored)
                    assert_same_pixels(sent, stored)
            counts = reasons(server)
            assert set(counts) <= {"transcoded", "kept: not smaller", "kept: already compressed"}, counts
            assert decoder(server)["deaths"] == 0
            metrics = server.request("GET", "/timing/metrics").data.decode()
            assert "orthanc_bundle_transcoder_decoder_starts_total 1" in metrics
            assert 'step="decode"' in metrics
            explained = server.json("POST", "/transcoder/explain", sample("RLELossless"))
            assert explained["facts"]["transfer_syntax"] == SYNTAX["RLELossless"]
    assert done >= 12, "RLE and JPEG lossless as either, JPEG 2000 as JPEG-LS"


def test_a_killed_decoder_costs_nothing_that_orthanc_knows_of(make_server: ServerFactory) -> None:
    with make_server(sections("JPEGLSLossless")) as server:
        sent = sample("RLELossless")
        for starts in (1, 2):
            state = decoder(server)
            assert state["starts"] == starts
            os.kill(state["pid"], signal.SIGKILL)
            assert gone(state["pid"])
            if starts == 2:  # the second within ten minutes: it rests for a second
                assert upload(server, sent) == sent
                assert reasons(server)["kept: decoder not running"] == 1
                break
            assert read(upload(server, sent)).file_meta.TransferSyntaxUID == SYNTAX["JPEGLSLossless"]
        assert server.running
        assert "kept: decoder not running: started again in" in server.log_text()


def test_the_decoder_goes_with_orthanc_however_that_ends(make_server: ServerFactory) -> None:
    server = make_server(sections("JPEGLSLossless"))
    with server:
        pid = decoder(server)["pid"]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        assert b"python3." in command[0]
        open_files = {link.name: str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        assert [open_files.pop(number) for number in "012"] == ["/dev/null"] * 3
        # libffi 3.5, which ctypes loads, keeps its own file open.
        (channel,) = [name for name in open_files.values() if "/libffi.so" not in name]
        assert channel.startswith("socket:")
        server.kill()
        assert gone(pid)
    with server:
        pid = decoder(server)["pid"]
        assert server.stop() == 0
        assert gone(pid, 1.0)


def test_hostile_streams_are_stored_as_they_came(make_server: ServerFactory) -> None:
    sent = sample("JPEG2000Lossless")
    start = sent.rindex(b"\xff\x4f\xff\x51")
    bomb = bytearray(sent)
    bomb[start + 8 : start + 16] = b"\x7f\xff\xff\xff" * 2
    cut = sent[: start + 200] + bytes(len(sent) - start - 200 - 8) + sent[-8:]
    with make_server(sections("JPEGLSLossless")) as server:
        for hostile in (bytes(bomb), cut):
            native = server.request("POST", "/instances", hostile)
            if native.status == 200:
                assert server.request("GET", f"/instances/{native.json()['ID']}/file").data == hostile
        assert upload(server, sample("RLELossless")) != sample("RLELossless")
        assert not {"transcoded"} ^ (set(reasons(server)) & {"transcoded"})


@pytest.mark.parametrize(
    ("more", "refusal"),
    [
        ({"DecoderSeconds": 0}, "IngestTranscoder.DecoderSeconds: 0: expected"),
        ({"DecoderMemoryMegabytes": 10}, "IngestTranscoder.DecoderMemoryMegabytes: 10: expected"),
        ({"Recompress": "yes"}, 'IngestTranscoder.Recompress: "yes": expected bool'),
        ({"DecoderSecond": 5}, "did you mean 'DecoderSeconds'?"),
    ],
)
def test_bad_limits_are_refused_in_one_line(make_server: ServerFactory, more: dict[str, Any], refusal: str) -> None:
    with pytest.raises(OrthancError) as error:
        make_server(sections("JPEGLSLossless", **more)).start()
    assert refusal in str(error.value)
