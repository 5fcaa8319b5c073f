from __future__ import annotations

import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom import examples
from pynetdicom import AE, evt

from association import __main__ as cli
from association import dimse, part10, probe
from association.peer import Peer, ProbeError
from association.probe import Target

from .conftest import until

ECHO = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture(scope="module")
def ct_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ct") / "ct.dcm"
    examples.ct.save_as(path)
    return path


class Scp:
    """pynetdicom's C-ECHO and C-STORE SCP."""

    def __init__(self, *, stored: list[Any] | None = None, status: int = 0, require: str = "") -> None:
        ae = AE(ae_title="SCP")
        ae.add_supported_context(ECHO)
        ae.add_supported_context(CT, EXPLICIT)
        ae.require_called_aet = bool(require)

        def store(event: Any) -> int:
            if stored is not None:
                stored.append((event.assoc.requestor.ae_title, event.dataset))
            return status

        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
        assert self.server is not None
        self.port = self.server.server_address[1]

    def __enter__(self) -> Scp:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()  # type: ignore[union-attr]


def target(port: int, **fields: Any) -> Target:
    return Target(host="127.0.0.1", port=port, **{"timeout_s": 60.0, **fields})


def accept_body() -> bytes:
    """A-ASSOCIATE-AC for one presentation context."""
    items = struct.pack(">BxHB3x", 0x21, 4 + 4 + 17, 1) + struct.pack(">BxH17s", 0x40, 17, b"1.2.840.10008.1.2")
    user = struct.pack(">BxHI", 0x51, 4, 16384)
    body = struct.pack(">H2x64x", 1) + items + struct.pack(">BxH", 0x50, len(user)) + user
    return struct.pack(">BxI", dimse.ASSOCIATE_AC, len(body)) + body


def response(status: int = 0) -> tuple[bytes, bytes]:
    elements = struct.pack("<HHIH", 0, 0x0100, 2, 0x8030) + struct.pack("<HHIH", 0, 0x0900, 2, status)
    return dimse.data_header(1, len(elements), is_command=True, last=True), elements


class Fake:
    """Runs `behave` on each connection."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.behave = behave
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection:
            try:
                self.behave(connection)
            except OSError:
                return


@pytest.fixture
def fake() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    made: list[Fake] = []

    def make(behave: Callable[[socket.socket], None]) -> int:
        made.append(Fake(behave))
        return made[-1].port

    yield make
    for one in made:
        one.listener.shutdown(socket.SHUT_RDWR)
        one.listener.close()


def pdu(connection: socket.socket) -> int:
    """Reads one PDU; returns its type, 0 at the end."""
    header = connection.recv(6, socket.MSG_WAITALL)
    if len(header) < 6:
        return 0
    kind, length = struct.unpack(">BxI", header)
    connection.recv(length, socket.MSG_WAITALL)
    return int(kind)


def stalling(connection: socket.socket) -> None:
    """As an unmodified DCMTK SCP: Nagle on, and each response in two writes."""
    pdu(connection)
    connection.sendall(accept_body())
    while pdu(connection) == dimse.P_DATA:
        for part in response():
            connection.sendall(part)


def prompt(connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stalling(connection)


def measured(run: Callable[[], probe.Report], *, stalls: bool) -> probe.Report:
    """Measures until the responses stall or do not: on a busy machine a prompt peer may look like a stalling one."""
    reports: list[probe.Report] = []

    def settled() -> bool:
        reports.append(run())
        return reports[-1].response_stalls is stalls

    until(settled, f"responses stall: {stalls}")
    return reports[-1]


def test_a_prompt_peer_does_not_stall() -> None:
    with Scp() as scp:
        report = measured(lambda: probe.run(target(scp.port), count=5), stalls=False)
    assert report.echo_quick.count == report.echo_delayed.count == 5
    assert "do not stall" in report.findings[0]


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="needs Linux")
def test_a_peer_that_writes_its_response_in_two_segments_stalls(fake: Callable[..., int]) -> None:
    stalling_port, prompt_port = fake(stalling), fake(prompt)
    report = measured(lambda: probe.run(target(stalling_port), count=5), stalls=True)
    assert report.echo_delayed.p50_ms - report.echo_quick.p50_ms > probe.STALL_MS
    assert "TCP_NODELAY" in report.findings[0]
    measured(lambda: probe.run(target(prompt_port), count=5), stalls=False)


def test_stores_the_file_whole_and_bounded(ct_path: Path) -> None:
    stored: list[Any] = []
    with Scp(stored=stored) as scp:
        report = probe.run(target(scp.port), count=3, instance=part10.read(ct_path))
    assert [title for title, _ in stored] == [probe.CALLING_AE_TITLE] * 6
    assert all(dataset == examples.ct for _, dataset in stored)
    assert report.store_nagle is not None
    assert report.data_set_end_stalls is not None  # pynetdicom's SCP delays its acknowledgements too: mostly it does


@pytest.mark.parametrize(
    ("nagle", "stalls"),
    [
        ([5.0] * 20, False),
        ([5.0] * 19 + [50.0], False),  # one may be anything
        ([5.0] * 18 + [45.0, 48.0], True),  # large data sets: some
        ([46.0] * 20, True),  # small ones: all
    ],
)
def test_judges_by_the_share_of_stores_that_stall(nagle: list[float], stalls: bool) -> None:
    report = probe.judge(target(1), [0.3] * 20, [0.3] * 20, nagle, [5.0] * 20)
    assert report.data_set_end_stalls is stalls
    assert ("does not stall" in report.findings[1]) is not stalls


def test_a_slow_peer_is_not_a_stalling_one() -> None:
    report = probe.judge(target(1), [300.0] * 5, [298.0] * 5, [900.0] * 5, [899.0] * 5)
    assert not report.response_stalls
    assert not report.data_set_end_stalls


def garbage(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    pdu(connection)


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def closes(connection: socket.socket) -> None:
    pdu(connection)


def rejects(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(struct.pack(">BxIxBBB", dimse.ASSOCIATE_RJ, 4, 1, 1, 7))


def aborts(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body())
    pdu(connection)
    connection.sendall(struct.pack(">BxI4x", dimse.ABORT, 4))
    pdu(connection)


def half_an_answer(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body()[:50])


def refuses_context(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body().replace(b"\x21\0\0\x19\x01\0\0\0", b"\x21\0\0\x19\x01\0\x03\0"))
    pdu(connection)


def no_context(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(struct.pack(">BxI", dimse.ASSOCIATE_AC, 68) + bytes(68))
    pdu(connection)


def lies_about_lengths(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body())
    pdu(connection)
    connection.sendall(struct.pack(">BxIIBB", dimse.P_DATA, 6, 5000, 1, 3))
    pdu(connection)


def enormous(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(struct.pack(">BxI", dimse.ASSOCIATE_AC, 0xFFFFFFFF))
    pdu(connection)


def fails(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body())
    while pdu(connection) == dimse.P_DATA:
        connection.sendall(b"".join(response(0x0122)))


def no_status(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body())
    pdu(connection)
    connection.sendall(dimse.data_header(1, 0, is_command=True, last=True))
    pdu(connection)


def never_ends(connection: socket.socket) -> None:
    pdu(connection)
    connection.sendall(accept_body())
    pdu(connection)
    while True:
        connection.sendall(dimse.data_header(1, 16000, is_command=True, last=False) + bytes(16000))


@pytest.mark.parametrize(
    ("behave", "says"),
    [
        (garbage, "does not speak DICOM"),
        (silent, "no answer within 0.3 s"),
        (closes, "closed the connection"),
        (half_an_answer, "closed the connection"),
        (rejects, "called AE title not recognised"),
        (aborts, "aborted"),
        (refuses_context, "refused for its SOP class"),
        (no_context, "presentation context"),
        (lies_about_lengths, "do not add up"),
        (enormous, "does not speak DICOM"),
        (fails, "status 0122H"),
        (no_status, "no status"),
        (never_ends, "does not end"),
    ],
)
def test_a_bad_peer_is_one_line(fake: Callable[..., int], behave: Callable[[socket.socket], None], says: str) -> None:
    # Who never answers is waited for; all others answer, at their own speed.
    timeout_s = 0.3 if behave is silent else 60.0
    with pytest.raises(ProbeError, match=says) as caught:
        probe.run(target(fake(behave), timeout_s=timeout_s), count=1)
    assert "\n" not in str(caught.value)


def test_a_peer_that_trickles_does_not_hold_the_probe_beyond_its_time(fake: Callable[..., int]) -> None:
    def trickle(connection: socket.socket) -> None:
        pdu(connection)
        for byte in accept_body():
            connection.sendall(bytes([byte]))
            time.sleep(0.02)

    with pytest.raises(ProbeError, match="no answer within"):
        probe.run(target(fake(trickle), timeout_s=0.2), count=1)


def test_a_port_where_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ProbeError, match="refused"):
            probe.run(target(unused.getsockname()[1]), count=1)


def test_a_wrong_called_title_is_said() -> None:
    with Scp(require="SCP") as scp:
        with pytest.raises(ProbeError, match="--called"):
            probe.run(target(scp.port), count=1)
        measured(lambda: probe.run(target(scp.port, called="SCP"), count=1), stalls=False)


def test_a_store_that_fails_is_said(ct_path: Path) -> None:
    with Scp(status=0xA700) as scp, pytest.raises(ProbeError, match="A700H"):
        probe.run(target(scp.port), count=1, instance=part10.read(ct_path))


def test_a_warning_counts_as_stored(ct_path: Path) -> None:
    with Scp(status=0xB000) as scp:
        assert probe.run(target(scp.port), count=1, instance=part10.read(ct_path)).store_nagle is not None


@pytest.mark.parametrize("title", ["", " ", "X" * 17, "Ä", "A\\B", "A\nB"])
def test_an_impossible_title_is_refused(title: str) -> None:
    with pytest.raises(ValueError, match="AE title"):
        dimse.associate_request(title, "B", ECHO, EXPLICIT)


@pytest.mark.parametrize("count", [0, -1, probe.MAX_COUNT + 1])
def test_the_number_of_messages_is_bounded(count: int) -> None:
    with pytest.raises(ValueError, match="--count"):
        probe.run(target(1), count=count)


def test_the_association_is_released(fake: Callable[..., int]) -> None:
    seen: list[int] = []

    def behave(connection: socket.socket) -> None:
        pdu(connection)
        connection.sendall(accept_body())
        while kind := pdu(connection):
            seen.append(kind)
            if kind == dimse.P_DATA:
                connection.sendall(b"".join(response()))
            if kind == dimse.RELEASE_RQ:
                connection.sendall(struct.pack(">BxI4x", dimse.RELEASE_RP, 4))

    with Peer("127.0.0.1", fake(behave), timeout_s=60, no_delay=True, quick_ack=True) as peer:
        peer.associate("A", "B", ECHO, EXPLICIT)
        peer.echo()
    assert seen == [dimse.P_DATA, dimse.RELEASE_RQ]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a DICOM file"),
        (b"x" * 500, "not a DICOM file"),
        (bytes(128) + b"DICM\x02\0\0\0UL\x04\0\xff\xff\0\0", "goes beyond the end"),
        (bytes(128) + b"DICM\x02\0\0\0UL\x04\0\0\0\0\0", "no transfer syntax UID"),
        (bytes(128) + b"DICM\x02\0\0\0UL\x04\0\x08\0\0\0\x02\0\x02\0OB\0\0", "ends within it"),
        (bytes(128) + b"DICM\x02\0\0\0UL\x04\0\x0a\0\0\0\x02\0\x10\0UI\x02\x001\0", "lacks a UID"),
    ],
)
def test_a_file_that_is_no_instance_is_one_line(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(part10.NotPart10Error, match=says):
        part10.read(path)


def hold_times(monkeypatch: pytest.MonkeyPatch, *, delayed_ms: float = 0.3, nagle_ms: float = 5.0) -> None:
    """Round trips are made, but take these times: with acknowledgements delayed, and with Nagle's algorithm on."""
    echo, store = Peer.echo, Peer.store

    def held_echo(peer: Peer) -> float:
        echo(peer)
        return (0.3 if peer._quick_ack else delayed_ms) / 1000

    def held_store(peer: Peer, instance: part10.Instance) -> float:
        store(peer, instance)
        no_delay = peer._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        return (5.0 if no_delay else nagle_ms) / 1000

    monkeypatch.setattr(Peer, "echo", held_echo)
    monkeypatch.setattr(Peer, "store", held_store)


@pytest.mark.parametrize(
    ("times", "response_stalls", "data_set_end_stalls", "expected"),
    [
        ({}, False, False, 0),
        ({"delayed_ms": 44.0}, True, False, 3),
        ({"nagle_ms": 48.0}, False, True, 3),
    ],
)
def test_command_line_json_and_exit_status(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ct_path: Path,
    times: dict[str, float],
    response_stalls: bool,
    data_set_end_stalls: bool,
    expected: int,
) -> None:
    hold_times(monkeypatch, **times)
    with Scp() as scp:
        status = cli.main(["probe", "127.0.0.1", str(scp.port), "--count", "2", "--json", "--store", str(ct_path)])
    report = json.loads(capsys.readouterr().out)
    assert report["ResponseStalls"] is response_stalls
    assert report["DataSetEndStalls"] is data_set_end_stalls
    assert report["StoreNagle"]["Count"] == 2
    assert status == expected


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="needs Linux")
def test_command_line_table_and_exit_status(fake: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    port = str(fake(stalling))
    until(lambda: cli.main(["probe", "127.0.0.1", port, "--count", "3"]) == 3, "the peer is seen to stall")
    assert "TCP_NODELAY=1" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--count", "0"],
        ["--calling", "MUCH-TOO-LONG-A-TITLE"],
        ["--store", "/nowhere/at/all.dcm"],
        ["--timeout", "0.2"],
    ],
)
def test_command_line_says_what_is_wrong_in_one_line(
    fake: Callable[..., int], capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert cli.main(["probe", "127.0.0.1", str(fake(silent)), *arguments]) == 1
    errors = capsys.readouterr().err.strip().splitlines()
    assert errors[-1].startswith("association probe: ")


@pytest.mark.parametrize("port", ["0", "65536", "abc", "-1"])
def test_command_line_refuses_a_port_that_is_none(port: str) -> None:
    with pytest.raises(SystemExit):
        cli.main(["probe", "127.0.0.1", port])
