"""Finds free TCP ports for servers."""

from __future__ import annotations

import socket
from collections import deque

_MAX_KEPT_PORTS = 64
_kept_ports: deque[socket.socket] = deque()


def port_is_free(port: int) -> bool:
    """Whether TCP `port` of this machine can be bound, as Orthanc will."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A free TCP port, which the kernel gives to no other program that asks for any port.

    A socket stays bound to it until 64 more ports were asked for. Both of Orthanc's servers can bind the port all the
    same: they set SO_REUSEADDR, and this socket does not listen.
    """
    kept = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    _kept_ports.append(kept)
    if len(_kept_ports) > _MAX_KEPT_PORTS:
        _kept_ports.popleft().close()
    return int(kept.getsockname()[1])
