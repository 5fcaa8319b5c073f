"""A stand-in for the DICOM server of Orthanc: a listening socket in this process, and connections that it accepts."""

from __future__ import annotations

import contextlib
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from association import Settings, Tuner

collect_ignore_glob = [] if sys.platform == "linux" else ["test_sockets.py", "test_tuner.py"]


def until(condition: Callable[[], object], what: str, deadline_s: float = 60.0) -> None:
    """Waits; fails the test with `what` when it does not come true."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, f"not in {deadline_s} s: {what}"
        time.sleep(0.002)


class Server:
    """Accepts on one port, as DCMTK does; each accepted connection is kept in `accepted` until the test closes it."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server(
            (address, port), family=family, backlog=128, dualstack_ipv6=address == "::"
        )
        self.port: int = self.listener.getsockname()[1]
        self.accepted: list[socket.socket] = []
        self.clients: list[socket.socket] = []
        self._stop_r, self._stop_w = socket.socketpair()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            ready, _, _ = select.select([self.listener, self._stop_r], [], [])
            if self._stop_r in ready:
                return
            self.accepted.append(self.listener.accept()[0])

    def connect(self, address: str = "127.0.0.1") -> tuple[socket.socket, socket.socket]:
        """A client and the server's end of its connection."""
        client = socket.create_connection((address, self.port), 60)
        client.settimeout(60)
        self.clients.append(client)
        name = client.getsockname()[1]

        def mine() -> list[socket.socket]:
            return [one for one in self.accepted if one.fileno() >= 0 and one.getpeername()[1] == name]

        until(mine, "the server accepts")
        return client, mine()[0]

    def close(self) -> None:
        self._stop_w.send(b"x")
        self._thread.join(10)
        for one in (self.listener, self._stop_r, self._stop_w, *self.accepted, *self.clients):
            one.close()


@pytest.fixture
def server() -> Iterator[Server]:
    one = Server()
    yield one
    one.close()


@pytest.fixture
def start() -> Iterator[Callable[..., Tuner]]:
    """Makes tuners that run, and stops them; fails where one leaves a thread, a descriptor or a complaint."""
    before = descriptors()
    made: list[Tuner] = []

    def make(port: int, *, wait: bool = True, modality_ports: tuple[int, ...] = (), **settings: object) -> Tuner:
        tuner = Tuner(Settings(**settings), port, modality_ports)  # type: ignore[arg-type]
        made.append(tuner)
        tuner.start()
        if wait:
            until(lambda: tuner.status().listening, "the watcher finds the listening socket")
        return tuner

    yield make
    for tuner in made:
        assert tuner.stop(60)
        assert tuner.status().problem == ""
    assert "dicom-associations" not in [thread.name for thread in threading.enumerate()]
    # Only what the watcher itself opens: sockets are the test's business.
    left = [kind for kind in descriptors() if kind not in before and "anon_inode" in kind]
    assert left == []


def descriptors() -> list[str]:
    """What the descriptors of this process point to."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(f"{path.name} {path.readlink()}")
    return sorted(found)
