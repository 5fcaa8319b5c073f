"""Links between sender and server: loopback, or a veth pair with Ethernet's MTU into a network namespace."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

_NAMES = ("orthanc-bench", "obench0", "obench1")
_SERVER_ADDRESS, _SENDER_ADDRESS = "10.213.71.1", "10.213.71.2"


@dataclass(frozen=True)
class Link:
    """How a sender reaches the server."""

    name: str
    host: str
    prefix: tuple[str, ...] = ()


LOOPBACK = Link("loopback", "127.0.0.1")
VETH = Link("veth, MTU 1500", _SERVER_ADDRESS, ("ip", "netns", "exec", _NAMES[0]))


def can_make_namespaces() -> bool:
    """Whether this process may make network namespaces, which takes root."""
    return os.geteuid() == 0


@contextmanager
def veth() -> Iterator[Link]:
    """Makes a pair of virtual Ethernet devices, one end in a namespace; removed at the end.

    Raises:
        subprocess.CalledProcessError: no rights, or a kernel without them.
    """
    namespace, ours, theirs = _NAMES
    remove = ["ip", "netns", "delete", namespace]
    subprocess.run(remove, check=False, capture_output=True)  # what an interrupted run left
    try:
        for words in (
            f"netns add {namespace}",
            f"link add {ours} mtu 1500 type veth peer name {theirs} mtu 1500 netns {namespace}",
            f"address add {_SERVER_ADDRESS}/30 dev {ours}",
            f"link set {ours} up",
            f"-n {namespace} address add {_SENDER_ADDRESS}/30 dev {theirs}",
            f"-n {namespace} link set {theirs} up",
        ):
            subprocess.run(["ip", *words.split()], check=True, capture_output=True)
        yield VETH
    finally:
        subprocess.run(remove, check=False, capture_output=True)
