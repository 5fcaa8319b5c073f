"""Orthanc as SCU, with the watcher on the associations that it opens itself: two real Orthancs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from bench.moves import WAYS, transfer
from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload, tool
from tests.conftest import ServerFactory
from tests.integration.test_associations import ONLY, status, until, watched

pytestmark = pytest.mark.orthanc


def receiving_server(make_server: ServerFactory) -> OrthancProcess:
    return make_server({"DicomAet": "RECEIVING"}, bundle=False)


def modality(receiving: OrthancProcess) -> list[Any]:
    return ["RECEIVING", "127.0.0.1", receiving.dicom_port]


def sends(sending: OrthancProcess, receiving: OrthancProcess, study: list[Path], way: str) -> dict[str, Any]:
    """Sends by one way; returns what the tuner of the sending end counted."""
    http_upload(sending, study)
    transfer(way, sending)
    assert receiving.json("GET", "/statistics")["CountInstances"] == len(study)
    return status(sending)


@pytest.mark.parametrize("way", WAYS)
def test_a_study_that_orthanc_sends_is_acknowledged_at_once(
    make_server: ServerFactory, small_study: list[Path], way: str
) -> None:
    with receiving_server(make_server) as receiving:
        modalities = {"receiving": modality(receiving), "mover": ["MOVER", "127.0.0.1", 104]}
        own = {"DicomAet": "SENDING", "DicomAlwaysAllowMove": True, "DicomModalities": modalities}
        with make_server(ONLY | own) as sending:
            counted = sends(watched(sending), receiving, small_study, way)
            assert counted["outgoing_seen"] == 1
            # The first look may miss a few instances; the rest is acknowledged one by one.
            assert counted["acks_forced"] >= len(small_study) * 0.6
            until(lambda: status(sending)["open_outgoing"] == 0, "the outgoing association is gone")


def test_a_modality_that_is_added_at_runtime_and_kept_in_the_database_is_followed(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with receiving_server(make_server) as receiving:
        own = {"DicomModalitiesInDatabase": True, "OverwriteInstances": True, "SaveJobs": False}
        sending = make_server(ONLY | own)
        with sending:
            watched(sending).json("PUT", "/modalities/receiving", modality(receiving))
            followed(sending, receiving.dicom_port)
            assert sends(sending, receiving, small_study, WAYS[0])["outgoing_seen"] == 1
        with sending:  # the same folder: orthanc.json names no modality, the database does
            followed(watched(sending), receiving.dicom_port)
            assert sends(sending, receiving, small_study, WAYS[0])["outgoing_seen"] == 1


def followed(server: OrthancProcess, port: int) -> None:
    until(lambda: status(server)["modality_ports"] == [port], "the modality's port is known")


@pytest.mark.parametrize("address", ["::1", "127.0.0.1"])
def test_ipv6_is_watched_where_orthanc_listens_on_it(
    make_server: ServerFactory, small_study: list[Path], address: str
) -> None:
    with make_server(ONLY) as server:
        command = [tool("storescu"), "-aec", "ORTHANC", address, str(watched(server).dicom_port), str(small_study[0])]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if address == "::1" and done.returncode != 0:
            # DCMTK's networking knows IPv4 only up to 3.6.7 at least: then nobody listens there, whatever the tuner
            # does.
            assert not listens_on_ipv6(server)
            pytest.skip("this Orthanc's DICOM server listens on IPv4 only")
        assert (done.returncode, status(server)["associations_seen"]) == (0, 1), done.stderr


def listens_on_ipv6(server: OrthancProcess) -> bool:
    assert server.process is not None
    table = Path(f"/proc/{server.process.pid}/net/tcp6").read_text().splitlines()[1:]
    return any(
        int(line.split()[1].split(":")[1], 16) == server.dicom_port and line.split()[3] == "0A" for line in table
    )
