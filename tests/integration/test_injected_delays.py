"""A delay of known length, put into one place at a time, is found in its own stage and step and nowhere else.

The delay is far longer than what a busy machine adds by itself, and medians are compared with it: nothing here depends
on speed.
"""

from __future__ import annotations

import io
import socket
import statistics
import struct
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from association import dimse, part10
from association.peer import Peer
from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload, storescu
from tests.conftest import ALL_SECTIONS, ServerFactory
from tests.support.patched_bundle import patch_bundle
from timing.logs import read_logs

pytestmark = [pytest.mark.orthanc, pytest.mark.in_memory]

DELAY_MS = 400.0
COUNT = 3

# One function of the bundle, made slower.
SLOW = """
import importlib, time
owner = importlib.import_module({module!r})
for part in {owner!r}.split("."):
    owner = getattr(owner, part) if part else owner
fast = getattr(owner, {function!r})
def slow(*arguments, **options):
    time.sleep({delay_s})
    return fast(*arguments, **options)
setattr(owner, {function!r}, slow)
"""

# Module, class in it or nothing, function; where its time goes, and how often per image: it is two files, of which one
# is written after the store.
PLACES: dict[str, tuple[str, str, str, str, str, int]] = {
    "the storage area writes slowly": (
        "deferred_delete.storage.file_storage",
        "FileStorage",
        "_open_new",
        "write",
        "file",
        1,
    ),
    "the disk syncs slowly": ("os", "", "fdatasync", "write", "sync", 1),
    "the transcoder scans slowly": ("transcoder.reading", "", "read_file_meta", "transcode", "scan", 1),
    "the transcoder encodes slowly": ("transcoder.codecs.frames", "", "check_stray_bits", "transcode", "encode", 1),
    "the transcoder verifies slowly": ("transcoder.codecs.frames", "", "_compare", "write", "verify", 1),
}


def slow_server(make_server: ServerFactory, module: str, owner: str, function: str) -> OrthancProcess:
    server = make_server(ALL_SECTIONS, arguments=("--trace",))
    patch_bundle(server, SLOW.format(module=module, owner=owner, function=function, delay_s=DELAY_MS / 1e3))
    return server


def medians(server: OrthancProcess, protocol: str) -> dict[str, float]:
    """Median milliseconds by stage, and by "stage.step"."""
    (found,) = [one for one in server.json("GET", "/timing/stages")["protocols"] if one["protocol"] == protocol]
    check_sums(found)
    rows = {stage["stage"]: stage["p50_ms"] for stage in found["stages"]}
    steps = {
        f"{stage['stage']}.{step['stage']}": step["p50_ms"] for stage in found["stages"] for step in stage["steps"]
    }
    return rows | steps


def check_sums(protocol: dict[str, Any]) -> None:
    """Stages add up to the total, and steps to their stage."""
    sums = {stage["stage"]: stage["mean_ms"] * stage["count"] for stage in protocol["stages"]}
    total = sums.pop("total")
    assert sum(sums.values()) == pytest.approx(total, abs=0.001)
    for stage in protocol["stages"]:
        if stage["steps"] and all(step["count"] == stage["count"] for step in stage["steps"]):
            known = sum(step["mean_ms"] * step["count"] for step in stage["steps"])
            assert known == pytest.approx(stage["mean_ms"] * stage["count"], abs=0.001)


def assert_only(found: dict[str, float], stage: str, step: str, least_ms: float = DELAY_MS) -> None:
    guilty = {stage, f"{stage}.{step}", "total"}
    slow = {name for name, milliseconds in found.items() if milliseconds >= DELAY_MS * 0.9}
    assert slow == guilty, found
    assert found["total"] >= found[stage] >= least_ms * 0.99


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_a_delay_in_a_core_is_found_where_it_is(
    make_server: ServerFactory, small_study: list[Path], place: tuple[str, str, str, str, str, int]
) -> None:
    module, owner, function, stage, step, times = place
    with slow_server(make_server, module, owner, function) as server:
        http_upload(server, small_study[:COUNT])
        found = medians(server, "http")
        if step == "verify":
            # Of the first instance alone: proofs are left to the write once it is seen that writes come to us.
            found.pop("transcode.verify")
        assert_only(found, stage, step, DELAY_MS * times)
        # The log of the same run, read by the reader, tells the same of each instance.
        slowest = {one["orthanc_id"]: one["total_ms"] for one in server.json("GET", "/timing/slowest")}
        server.kill()
        report = read_logs([str(server.log_path)])
        logged = {one.orthanc_id: one.total_ms for one in report.slowest}
        assert set(logged) == set(slowest)
        for orthanc_id, total_ms in slowest.items():
            # The log begins before the callback, when receiving begins, and ends before OnStored.
            assert abs(logged[orthanc_id] - total_ms) < DELAY_MS / 2


def test_a_slow_removal_of_what_is_overwritten_is_in_the_commit(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    server = slow_server(make_server, "deferred_delete.storage_area", "DeferredStorageArea", "remove")
    server.configuration["OverwriteInstances"] = True
    with server:
        http_upload(server, small_study[:COUNT])
        server.json("POST", "/timing/reset", {})
        http_upload(server, small_study[:COUNT])
        found = medians(server, "http")
        (http,) = server.json("GET", "/timing/stages")["protocols"]
        assert (http["instances"], http["duplicates"]) == (COUNT, 0)
        assert {name for name, milliseconds in found.items() if milliseconds >= DELAY_MS * 0.9} == {"commit", "total"}


def watched(server: OrthancProcess) -> OrthancProcess:
    deadline = time.monotonic() + 60
    while not server.json("GET", "/associations/status")["listening"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return server


def store_with_pauses(peer: Peer, instance: part10.Instance, before_s: float, amid_s: float) -> None:
    """One C-STORE: a pause, the command and half of the data set, a pause, the rest, the response."""
    time.sleep(before_s)
    for part in peer._command(dimse.C_STORE_RQ, instance.sop_class, instance.sop_instance_uid):
        peer._send(part)
    half = len(instance.dataset) // 4 * 2
    for part, last in ((instance.dataset[:half], False), (instance.dataset[half:], True)):
        size = 16_000
        for at in range(0, len(part), size):
            piece = part[at : at + size]
            final = last and at + size >= len(part)
            peer._send(dimse.data_header(1, len(piece), is_command=False, last=final) + piece)
        if not last:
            time.sleep(amid_s)
    peer._await_response("C-STORE", 0.0)


# Half of a data set is held back for a moment in any case: the watcher does not tell of one that came and went between
# two of its looks.
@pytest.mark.parametrize(
    ("before_ms", "amid_ms", "stage"), [(DELAY_MS, DELAY_MS / 4, "wait"), (0, DELAY_MS, "receive")]
)
def test_a_pause_of_the_scu_is_found_in_waiting_or_in_receiving(
    make_server: ServerFactory, small_study: list[Path], before_ms: float, amid_ms: float, stage: str
) -> None:
    with (
        make_server() as server,
        Peer("127.0.0.1", watched(server).dicom_port, timeout_s=60, no_delay=True, quick_ack=True) as peer,
    ):
        instances = [part10.read(path) for path in small_study[: COUNT + 2]]
        peer.associate("SLOW SCU", "ORTHANC", instances[0].sop_class, instances[0].transfer_syntax)
        for instance in instances:
            store_with_pauses(peer, instance, before_ms / 1e3, amid_ms / 1e3)
        found = medians(server, "cstore")
        assert {name for name, ms in found.items() if ms >= DELAY_MS * 0.9} == {stage, "total"}, found
        assert {"response", "wait", "receive", "queue"} <= set(found)
        (cstore,) = server.json("GET", "/timing/stages")["protocols"]
        assert [client["client"] for client in cstore["clients"]] == ["SLOW SCU"]
        # An association may sit idle for as long as it likes: that makes no instance slow.
        work_ms = statistics.median(one["work_ms"] for one in server.json("GET", "/timing/slowest"))
        assert (work_ms >= DELAY_MS * 0.9) is (stage == "receive")


def test_what_waits_for_the_callback_s_turn_is_in_the_queue_and_not_in_its_own_transcoding(
    make_server: ServerFactory, tmp_path: Path, small_study: list[Path]
) -> None:
    """Three associations at once, a callback of DELAY_MS that lets one in at a time: two of three wait for it."""
    server = slow_server(make_server, "transcoder.codecs.frames", "", "check_stray_bits")
    server.configuration["DicomThreadsCount"] = 4
    with server, ThreadPoolExecutor(3) as pool:
        watched(server)
        # Files of different sizes, so that each data set fits one association only.
        paths = [tmp_path / f"{number}.dcm" for number in range(3)]
        for number, path in enumerate(paths):
            path.write_bytes(larger(small_study[number].read_bytes(), 20_000 * number))
        list(pool.map(lambda pair: storescu(server, [pair[1]], calling=f"CT{pair[0]}"), enumerate(paths)))
        (cstore,) = server.json("GET", "/timing/stages")["protocols"]
        check_sums(cstore)
        rows = {stage["stage"]: stage for stage in cstore["stages"]}
        assert sorted(client["client"] for client in cstore["clients"]) == ["CT0", "CT1", "CT2"]
        assert rows["queue"]["max_ms"] >= DELAY_MS * 0.9
        assert rows["transcode"]["p50_ms"] < DELAY_MS * 1.9, "the turn of others is no work of its own"


def larger(dicom: bytes, size: int) -> bytes:
    """A Part 10 file in explicit VR little endian with a private element of so many bytes at its end."""
    if not size:
        return dicom
    creator = struct.pack("<HH2sH", 0x7FE1, 0x0010, b"LO", 4) + b"TEST"
    return dicom + creator + struct.pack("<HH2sHL", 0x7FE1, 0x1001, b"OB", 0, size) + bytes(size)


def zipped(paths: list[Path]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in paths:
            archive.write(path, path.name)
    return buffer.getvalue()


def refuse(server: OrthancProcess, paths: list[Path]) -> None:
    del paths
    assert server.request("POST", "/instances", b"no DICOM file").status == 400


def upload_zip(server: OrthancProcess, paths: list[Path]) -> None:
    assert len(server.json("POST", "/instances", zipped(paths))) == len(paths)


def upload_twice(server: OrthancProcess, paths: list[Path]) -> None:
    http_upload(server, paths)
    http_upload(server, paths)


def fail_to_write(server: OrthancProcess, paths: list[Path]) -> None:
    """A file where a folder would have to be made: only some writes fail, and root is refused as well."""
    for number in range(256):
        (server.storage / f"{number:02x}").write_bytes(b"")
    assert server.request("POST", "/instances", paths[0].read_bytes()).status >= 400
    for number in range(256):
        (server.storage / f"{number:02x}").unlink()


# What is sent, with which options of Orthanc: (instances, duplicates, unfinished, failed writes) of five files.
CASES: dict[str, tuple[Callable[[OrthancProcess, list[Path]], None], dict[str, Any], tuple[int, int, int, int]]] = {
    "a ZIP with many instances in one request": (upload_zip, {}, (5, 0, 0, 0)),
    "instances that are there already": (upload_twice, {}, (5, 5, 0, 0)),
    "instances that are overwritten": (upload_twice, {"OverwriteInstances": True}, (10, 0, 0, 0)),
    "storage compression": (upload_zip, {"StorageCompression": True}, (5, 0, 0, 0)),
    "no DICOM file": (refuse, {}, (0, 0, 1, 0)),
    "a write that fails": (fail_to_write, {}, (0, 0, 1, 1)),
}


@pytest.mark.parametrize(("send", "options", "expected"), CASES.values(), ids=CASES.keys())
def test_every_instance_is_counted_once_whatever_becomes_of_it(
    make_server: ServerFactory,
    small_study: list[Path],
    send: Callable[[OrthancProcess, list[Path]], None],
    options: dict[str, Any],
    expected: tuple[int, int, int, int],
) -> None:
    with make_server(ALL_SECTIONS | options) as server:
        send(server, small_study[:5])
        # What failed leaves nothing behind for the next one on its thread, which ends what never came back.
        http_upload(server, small_study[20:21])
        snapshot = server.json("GET", "/timing/stages")
        (http,) = snapshot["protocols"]
        check_sums(http)
        (total,) = [stage for stage in http["stages"] if stage["stage"] == "total"]
        instances, *others = expected
        if send is upload_twice and not options and server.version >= (1, 13):
            # Orthanc lets them go before it writes anything, and tells no plugin.
            others = [0, others[0], 0]
        assert (http["instances"], total["count"]) == (instances + 1, instances + 1)
        found = [http["duplicates"], http["unfinished"] + snapshot["in_flight"], http["failed_writes"]]
        assert found == others
        assert (snapshot["out_of_order"], snapshot["stray_writes"], snapshot["clamped"]) == (0, 0, 0)


@pytest.mark.parametrize("watched_requests", [True, False], ids=["HttpRequestFilter", "without it"])
def test_a_slow_upload_is_in_receive_where_requests_are_watched_and_in_nothing_where_not(
    make_server: ServerFactory, small_study: list[Path], watched_requests: bool
) -> None:
    sections = ALL_SECTIONS | {"StageTiming": {"HttpRequestFilter": watched_requests}}
    with make_server(sections) as server:
        for path in small_study[:COUNT]:
            body = path.read_bytes()
            with socket.create_connection(("127.0.0.1", server.http_port), timeout=60) as connection:
                connection.sendall(b"POST /instances HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
                connection.sendall(body[:1000])
                time.sleep(DELAY_MS / 1e3)
                connection.sendall(body[1000:])
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        found = medians(server, "http")
        slow = {name for name, milliseconds in found.items() if milliseconds >= DELAY_MS * 0.9}
        assert slow == ({"receive", "total"} if watched_requests else set())
        assert ("older than 4.1" in server.log_text()) is (watched_requests and not leak_free(server))


def leak_free(server: OrthancProcess) -> bool:
    """Whether the Python plugin is 4.1 or later, as Orthanc tells its version."""
    version = server.json("GET", "/plugins/python")["Version"]
    return not version[0].isdigit() or tuple(map(int, version.split("."))) >= (4, 1)
