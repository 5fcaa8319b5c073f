from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import association.tuner
from association import Settings, Tuner

from .conftest import Server, descriptors, until

Start = Callable[..., Tuner]
RESPONSE = b"r" * 170


def exchange(client: socket.socket, accepted: socket.socket, size: int = 1000) -> None:
    """One request with a response, read whole on both sides."""
    client.sendall(b"q" * size)
    left = size
    while left:
        left -= len(accepted.recv(left))
    accepted.sendall(RESPONSE)
    assert len(client.recv(len(RESPONSE), socket.MSG_WAITALL)) == len(RESPONSE)


def test_forces_one_acknowledgement_for_each_response(server: Server, start: Start) -> None:
    tuner = start(server.port)
    client, accepted = server.connect()
    until(lambda: tuner.status().open_associations == 1, "the association is seen")
    begin = tuner.status().acks_forced
    for count in range(1, 21):
        exchange(client, accepted, 100_000)
        client.sendall(b"q")
        accepted.recv(1)
        until(lambda count=count: tuner.status().acks_forced >= begin + count, f"acknowledgement {count}")
    status = tuner.status()
    assert status.acks_forced <= begin + 22  # one more for the first bytes of all
    assert status.associations_seen == 1


def test_arrivals_are_noticed_though_the_server_has_read_them_already(server: Server, start: Start) -> None:
    """The wake-up that an epoll set without EPOLLOUT loses: a thread that reads at once, as DCMTK's does."""
    tuner = start(server.port)
    client, accepted = server.connect()

    def serve() -> None:
        while accepted.recv(4096):
            accepted.sendall(RESPONSE)

    reader = threading.Thread(target=serve)
    reader.start()
    until(lambda: tuner.status().open_associations == 1, "the association is seen")
    (one,) = tuner._watcher.associations.values()  # type: ignore[union-attr]
    for answered in range(30):
        client.sendall(b"q" * 100)
        # Not the number of calls: a late watcher may see a request and its answer at once, and one call is enough then.
        until(
            lambda answered=answered: one.acknowledged >= answered,
            f"the first bytes after answer {answered} are noticed",
        )
        client.recv(len(RESPONSE), socket.MSG_WAITALL)
    client.close()
    reader.join(60)


def until_asleep(tuner: Tuner) -> None:
    """Until it has not woken for a second; what was on its way may wake it before."""

    def sleeps() -> bool:
        before = tuner.status().wake_ups
        time.sleep(1.0)
        return tuner.status().wake_ups == before

    until(sleeps, "the watcher sleeps")


def test_does_not_wake_while_associations_are_silent(server: Server, start: Start) -> None:
    tuner = start(server.port)
    server.connect()
    until(lambda: tuner.status().associations_seen == 1, "the association is seen")
    until_asleep(tuner)


def test_quick_ack_off_starts_nothing(server: Server, start: Start) -> None:
    for settings in ({"quick_ack": False}, {"enable": False}):
        tuner = start(server.port, wait=False, **settings)
        assert not tuner.status().running


def test_elsewhere_than_on_linux_it_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(association.tuner.sys, "platform", "win32")
    tuner = Tuner(Settings(), 4242)
    tuner.start()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "win32" in caplog.text
    assert not tuner.status().supported
    assert tuner.receive_times(1000, 0) is None
    assert tuner.stop(1)


def test_can_be_imported_where_there_is_neither_epoll_nor_fcntl() -> None:
    script = (
        "import select, sys\n"
        "sys.modules['fcntl'] = sys.modules['termios'] = None\n"
        "del select.epoll, select.EPOLLIN\n"
        "import association, association.__main__\n"
        "sys.platform = 'win32'\n"
        "tuner = association.Tuner(association.Settings(), 4242)\n"
        "tuner.start()\n"
        "assert not tuner.status().running\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])


def test_peers_see_the_end_while_the_watcher_runs(server: Server, start: Start) -> None:
    """200 associations, closed, aborted and dropped in mid-transfer.

    A socket that we kept open would leave its peer waiting.
    """
    tuner = start(server.port)
    for number in range(200):
        client, accepted = server.connect()
        match number % 4:
            case 0:  # closed by the server after an exchange
                exchange(client, accepted)
                accepted.close()
                assert client.recv(1) == b""
            case 1:  # closed by the client in mid-transfer
                client.sendall(b"q" * 50_000)
                client.close()
                while accepted.recv(65536):
                    pass
                accepted.close()
            case 2:  # aborted by the server
                client.sendall(b"q" * 50)
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                accepted.close()
                with pytest.raises(ConnectionResetError):
                    client.recv(1)
            case _:  # closed by the server at once
                accepted.close()
                assert client.recv(1) == b""
        client.close()
    until(lambda: tuner.status().open_associations == 0, "no association is left")
    assert tuner.status().running


def test_sixty_four_at_once(server: Server, start: Start) -> None:
    tuner = start(server.port)
    pairs = [server.connect() for _ in range(64)]
    until(lambda: tuner.status().open_associations == 64, "all are seen")
    threads = [threading.Thread(target=exchange, args=(*pair, 200_000)) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert tuner.status().associations_seen == 64
    for _, accepted in pairs:
        accepted.close()
    assert all(client.recv(1) == b"" for client, _ in pairs)


def test_a_reused_number_is_another_association(server: Server, start: Start) -> None:
    tuner = start(server.port)
    numbers = set()
    for seen in range(1, 11):
        client, accepted = server.connect()
        until(lambda seen=seen: tuner.status().associations_seen == seen, f"association {seen} is seen")
        numbers.add(accepted.fileno())
        exchange(client, accepted)
        accepted.close()
        client.close()
    assert len(numbers) < 10, "the system gave a new number each time: nothing was tested"


@pytest.mark.parametrize("address", ["::1", "::"])
def test_ipv6_and_v4_mapped(start: Start, address: str) -> None:
    try:
        server = Server(address)
    except OSError:
        pytest.skip("no IPv6 here")
    try:
        tuner = start(server.port)
        client, accepted = server.connect("127.0.0.1" if address == "::" else "::1")
        until(lambda: tuner.status().open_associations == 1, "the association is seen")
        exchange(client, accepted)
    finally:
        server.close()


def test_starts_and_stops_many_times_without_leaving_anything(server: Server) -> None:
    tuner = Tuner(Settings(), server.port)
    before, threads = descriptors(), threading.active_count()
    for _ in range(50):
        tuner.start()
        tuner.start()  # a second start is no second thread
        assert tuner.stop(60)
        assert tuner.stop(60)
    assert descriptors() == before
    assert threading.active_count() == threads
    assert not tuner.status().running


def test_leaves_the_listening_socket_as_it_was(server: Server) -> None:
    import fcntl

    before = fcntl.fcntl(server.listener, fcntl.F_GETFL)
    tuner = Tuner(Settings(), server.port)
    tuner.start()
    until(lambda: tuner.status().listening, "the listening socket is found")
    assert fcntl.fcntl(server.listener, fcntl.F_GETFL) == before | os.O_ASYNC
    assert tuner.stop(60)
    assert fcntl.fcntl(server.listener, fcntl.F_GETFL) == before
    server.connect()  # would end this process, were the signal still asked for and nobody there to take it


def test_the_signal_is_blocked_in_the_watcher_only(server: Server, start: Start) -> None:
    start(server.port)
    assert signal.SIGIO not in signal.pthread_sigmask(signal.SIG_BLOCK, set())
    for _ in range(50):
        server.connect()


def test_finds_a_listening_socket_that_appears_later(start: Start) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    tuner = start(port, wait=False)
    time.sleep(0.1)
    assert not tuner.status().listening
    server = Server(port=port)
    try:
        until(lambda: tuner.status().listening, "the listening socket is found")
        server.connect()
        until(lambda: tuner.status().open_associations == 1, "the association is seen")
    finally:
        server.close()


def test_finds_the_socket_of_a_server_that_was_restarted(start: Start) -> None:
    first = Server()
    tuner = start(first.port, rescan_seconds=0.05)
    first.connect()
    until(lambda: tuner.status().associations_seen == 1, "the association is seen")
    first.close()
    until(lambda: not tuner.status().listening, "the listening socket is missed")
    second = Server(port=first.port)
    try:
        until(lambda: tuner.status().listening, "the new listening socket is found")
        second.connect()
        until(lambda: tuner.status().associations_seen == 2, "its association is seen")
    finally:
        second.close()


def test_an_instance_from_nowhere_makes_it_look_again(start: Start) -> None:
    first = Server()
    tuner = start(first.port)  # looks again by itself only after 30 s
    first.close()
    second = Server(port=first.port)
    try:
        second.connect()
        tuner.receive_times(1000, time.monotonic_ns())
        until(lambda: tuner.status().open_associations == 1, "the association is found")
    finally:
        second.close()


def _has_seen(tuner: Tuner, received_bytes: int) -> bool:
    """Whether the watcher has seen that many bytes on its only association, and a message has begun."""
    assert tuner._watcher is not None
    (one,) = tuner._watcher.associations.values()
    return one.observation.unanswered and one.observation._received_bytes >= received_bytes


def test_tells_which_data_set_was_waited_for_and_received(server: Server, start: Start) -> None:
    tuner = start(server.port)
    client, accepted = server.connect()
    until(lambda: tuner.status().open_associations == 1, "the association is seen")
    exchange(client, accepted, 1000)
    client.sendall(b"q")
    until(lambda: _has_seen(tuner, 1001), "the first byte is seen")
    seen_ns = time.monotonic_ns()
    time.sleep(0.05)
    sent_ns = time.monotonic_ns()
    client.sendall(b"q" * 299_999)
    left = 300_000
    while left:
        left -= len(accepted.recv(left))
    until(lambda: _has_seen(tuner, 301_000), "the last byte is seen")
    times = tuner.receive_times(300_000, time.monotonic_ns())
    assert times is not None
    assert times.waited_ns >= 0
    assert times.receiving_ns >= sent_ns - seen_ns
    assert tuner.receive_times(300_000, time.monotonic_ns()) is None, "one data set, one answer"


def test_two_associations_with_the_same_number_of_bytes_are_ambiguous(server: Server, start: Start) -> None:
    tuner = start(server.port)
    pairs = [server.connect() for _ in range(2)]
    until(lambda: tuner.status().open_associations == 2, "both are seen")
    for client, accepted in pairs:
        client.sendall(b"q" * 100_000)
        assert len(accepted.recv(100_000, socket.MSG_WAITALL)) == 100_000
    watched = tuner._watcher.associations.values()  # type: ignore[union-attr]
    until(lambda: all(one.observation.unanswered for one in watched), "both are seen to begin")
    assert tuner.receive_times(100_000, time.monotonic_ns()) is None
    pairs[0][1].sendall(RESPONSE)  # answered: the other is the only one left
    until(lambda: tuner.receive_times(100_000, time.monotonic_ns()) is not None, "the other is told")


def test_watches_outgoing_associations_while_a_job_runs(server: Server, start: Start) -> None:
    own = Server()
    try:
        tuner = start(own.port, modality_ports=(server.port,))
        client, accepted = server.connect()
        time.sleep(0.1)
        assert tuner.status().outgoing_seen == 0, "nobody told of it"
        tuner.outgoing_begins()
        until(lambda: tuner.status().open_outgoing == 1, "the outgoing association is found")
        exchange(accepted, client)  # the peer answers us
        until(lambda: tuner.status().acks_forced >= 1, "its answer is acknowledged")
        tuner.outgoing_ends()
        until_asleep(tuner)  # no looks after the job
    finally:
        own.close()


def test_a_request_without_an_answer_makes_it_look_for_outgoing_ones(server: Server, start: Start) -> None:
    """C-MOVE: the answer comes after the instances were sent, over an association that Orthanc opens itself."""
    own = Server()
    try:
        tuner = start(own.port, modality_ports=(server.port,))
        mover, moved = own.connect()
        until(lambda: tuner.status().open_associations == 1, "the C-MOVE association is seen")
        exchange(mover, moved)
        mover.sendall(b"move")
        server.connect()
        until(lambda: tuner.status().open_outgoing == 1, "the outgoing association is found")
        moved.sendall(RESPONSE)
        until_asleep(tuner)  # no looks after the answer
    finally:
        own.close()


def test_a_watcher_that_fails_is_told_and_nothing_else_breaks(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no more of this")

    monkeypatch.setattr("association.watcher.Watcher._scan", fail)
    before = descriptors()
    tuner = Tuner(Settings(), server.port)
    tuner.start()
    until(lambda: not tuner.status().running, "it ends")
    assert "no more of this" in tuner.status().problem
    assert "slower" in caplog.text
    assert tuner.receive_times(10, 0) is None
    assert tuner.stop(1)
    assert descriptors() == before
