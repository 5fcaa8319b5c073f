"""A port that a test was given is not given to another program before Orthanc binds it."""

from __future__ import annotations

import socket

from harness.free_ports import free_port, port_is_free


def any_port() -> int:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        return int(other.getsockname()[1])


def test_a_free_port_is_given_once_and_can_be_listened_on() -> None:
    given = [free_port() for _ in range(50)]
    assert len(set(given)) == 50
    # About as many as there are: the kernel, asked for any port, goes round all of them.
    assert not set(given) & {any_port() for _ in range(60_000)}
    assert port_is_free(given[0])
    with socket.create_server(("0.0.0.0", given[0])):
        assert not port_is_free(given[0])
