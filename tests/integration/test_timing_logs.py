"""The log reader and the live stages, on the same run of a real Orthanc."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from harness import senders
from tests.conftest import ServerFactory
from timing.logs import read_logs

pytestmark = [pytest.mark.orthanc, pytest.mark.in_memory]

SECTIONS = {"StageTiming": {}, "DeferredDelete": {"GracePeriod": 0}}
# The log says when a request was seen and "New instance stored", the live stages when callbacks ran: of one instance,
# they differ by what lies between. Half a second is more than any machine needs for that, and less than what is
# injected below.
TOLERANCE_MS = 500.0
INJECTED_S = 1.5


def test_live_stages_and_the_log_agree_on_the_same_instances(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server(SECTIONS, arguments=("--trace",)) as server:
        senders.http_upload(server, small_study[:4])
        senders.storescu(server, small_study[4:8])
        live = {slow["orthanc_id"]: slow for slow in server.json("GET", "/timing/slowest")}
        report = read_logs([str(server.log_path)])
    logged = {slow.orthanc_id: slow for slow in report.slowest}
    assert logged.keys() == live.keys()
    assert len(logged) == 8
    for orthanc_id, slow in logged.items():
        assert slow.protocol == live[orthanc_id]["protocol"]
        assert slow.total_ms == pytest.approx(live[orthanc_id]["total_ms"], abs=TOLERANCE_MS)


def test_a_delay_of_the_sender_is_found_in_receiving_and_nowhere_else(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    body = small_study[0].read_bytes()
    with make_server({}, bundle=False, arguments=("--verbose",)) as server:
        senders.http_upload(server, small_study[1:3])
        with socket.create_connection(("127.0.0.1", server.http_port)) as client:
            client.sendall(
                b"POST /instances HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            )
            client.sendall(body[:1000])
            time.sleep(INJECTED_S)
            client.sendall(body[1000:])
            while client.recv(65536):
                pass
        report = read_logs([str(server.log_path)])
    slowest = report.slowest[0]
    assert (
        slowest.stages.pop("receive") >= INJECTED_S * 1000 - TOLERANCE_MS
    )  # the sender sleeps a little before Orthanc logs
    assert sum(slowest.stages.values()) < TOLERANCE_MS


def test_a_delay_between_two_instances_of_an_association_is_found_in_the_gap(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    from pynetdicom import AE
    from pynetdicom.sop_class import CTImageStorage

    entity = AE("SLOW")
    entity.add_requested_context(CTImageStorage, "1.2.840.10008.1.2.1")
    with make_server({}, bundle=False, arguments=("--verbose",)) as server:
        association = entity.associate("127.0.0.1", server.dicom_port, ae_title="ORTHANC")
        assert association.is_established
        for path in small_study[:3]:
            association.send_c_store(path)
            time.sleep(INJECTED_S)
        association.release()
        report = read_logs([str(server.log_path)])
    (protocol,) = report.protocols
    gap = next(entry for entry in protocol.beside if entry.stage == "gap")
    assert (protocol.instances, gap.count) == (3, 2)
    assert gap.p50_ms == pytest.approx(INJECTED_S * 1000, abs=TOLERANCE_MS)
    assert all(slow.total_ms < TOLERANCE_MS for slow in report.slowest)
    assert "long_gaps" not in {finding.name for finding in report.findings}  # two are not many
