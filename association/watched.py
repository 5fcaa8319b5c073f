"""A connection that the watcher follows, and the watcher's counters."""

from __future__ import annotations

from .observe import Observation
from .sockets import FoundSocket


class Association:
    """One connection that the watcher follows."""

    __slots__ = ("acknowledged", "cookie", "fd", "observation", "role")

    def __init__(self, found: FoundSocket, now_ns: int) -> None:
        self.fd = found.fd
        self.cookie = found.cookie
        self.role = found.role
        self.observation = Observation(now_ns, found.info)
        self.acknowledged = -1  # data segments we had sent when we last left pingpong mode

    def __repr__(self) -> str:
        return f"Association(fd={self.fd}, cookie={self.cookie}, {self.role.value})"


class Counters:
    """Counts what the watcher has done; written by its thread only."""

    def __init__(self) -> None:
        self.associations_seen = 0
        self.outgoing_seen = 0
        self.wake_ups = 0
        self.acks_forced = 0
        self.scans = 0
        self.cpu_ns = 0
