from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from association import tcp_info
from association.sockets import RawSockets, Role

from .conftest import Server, until


@pytest.fixture
def raw() -> RawSockets:
    return RawSockets()


def test_decodes_what_the_kernel_says_of_a_real_connection(raw: RawSockets, server: Server) -> None:
    client, accepted = server.connect()
    client.sendall(b"x" * 1234)
    accepted.sendall(b"y" * 10)
    until(lambda: accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512), "the kernel answers")
    until(
        lambda: tcp_info.decode(accepted.getsockopt(6, socket.TCP_INFO, 512)).bytes_received == 1234, "bytes received"
    )
    info = raw.info(accepted.fileno())
    assert info is not None
    assert (info.state, info.bytes_received, info.data_segments_sent) == (tcp_info.ESTABLISHED, 1234, 1)
    # The same field by the offset that linux/tcp.h gives, independently of our format string.
    whole = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512)
    assert struct.unpack_from("=Q", whole, 128) == (1234,)
    assert raw.info(server.listener.fileno()).state == tcp_info.LISTEN  # type: ignore[union-attr]


def test_refuses_the_structure_of_a_kernel_that_is_too_old() -> None:
    with pytest.raises(tcp_info.TooShortError, match=r"104 bytes.*4\.6"):
        tcp_info.decode(bytes(104))


def test_a_number_that_is_no_tcp_socket_is_harmless(raw: RawSockets, tmp_path: object) -> None:
    udp, unix = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socketpair()
    pipe_r, pipe_w = os.pipe()
    closed = os.dup(pipe_r)
    os.close(closed)
    try:
        for fd in (udp.fileno(), unix[0].fileno(), pipe_r, closed, -1, 1_000_000):
            assert raw.info(fd) is None
            assert not raw.quick_ack(fd)
            assert not raw.local_port(fd)
    finally:
        for one in (udp, *unix):
            one.close()
        os.close(pipe_r)
        os.close(pipe_w)


def test_the_cookie_tells_a_reused_number_from_the_socket_that_had_it(raw: RawSockets, server: Server) -> None:
    _, first = server.connect()
    fd, cookie = first.fileno(), raw.cookie(first.fileno())
    first.close()
    again = socket.socket()
    if again.fileno() != fd:
        os.dup2(again.fileno(), fd)
    assert raw.cookie(fd) not in (None, cookie)
    if again.fileno() != fd:
        os.close(fd)
    again.close()


@pytest.fixture(params=["127.0.0.1", "::1", "::"])
def family_server(request: pytest.FixtureRequest) -> Iterator[tuple[Server, str]]:
    try:
        one = Server(request.param)
    except OSError:
        pytest.skip("no IPv6 here")
    yield one, request.param
    one.close()


def test_finds_listener_and_associations_of_every_family(raw: RawSockets, family_server: tuple[Server, str]) -> None:
    server, address = family_server
    _, accepted = server.connect("127.0.0.1" if address == "::" else address)  # "::" takes IPv4 as v4-mapped
    found = {one.fd: one.role for one in raw.scan(server.port)}
    assert found == {server.listener.fileno(): Role.LISTENER, accepted.fileno(): Role.INCOMING}


def test_finds_outgoing_associations_by_the_ports_of_the_modalities(raw: RawSockets, server: Server) -> None:
    client, _ = server.connect()
    own = Server()
    try:
        assert client.fileno() not in [one.fd for one in raw.scan(own.port)]
        roles = {one.fd: one.role for one in raw.scan(own.port, {server.port})}
        assert roles == {own.listener.fileno(): Role.LISTENER, client.fileno(): Role.OUTGOING}
    finally:
        own.close()


def test_finds_nothing_where_a_udp_socket_has_the_port(raw: RawSockets) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        assert list(raw.scan(udp.getsockname()[1])) == []
