"""Follows the DICOM server's listening sockets, and schedules the scans for the connections that they accept."""

from __future__ import annotations

import contextlib
import logging

from .listener import ConnectionAlarm
from .schedule import Reason, Schedule
from .sockets import FoundSocket, RawSockets

logger = logging.getLogger(__name__)

_QUIET_SCANS = 3  # so many scans without a waiting connection, and an accepted one had the time to get its descriptor


class Listeners:
    """The listening sockets known now, each asked to signal its connections.

    Args:
        alarm: is told of connections.
        schedule: of the watcher.
        rescan_seconds: how often to look whether the server listens on a new socket.
    """

    def __init__(self, alarm: ConnectionAlarm, schedule: Schedule, rescan_seconds: float) -> None:
        self.cookies: dict[int, int] = {}  # by descriptor
        self._alarm = alarm
        self._schedule = schedule
        self._rescan_ms = rescan_seconds * 1000
        self._quiet_scans = 0

    def connection_came(self, now_ns: int) -> None:
        """Schedules scans: a connection reached a listening socket."""
        self._alarm.drain()
        self._quiet_scans = 0
        self._schedule.begin(Reason.ACCEPTING, now_ns, 0, 50)

    def follow(self, found: list[FoundSocket], dicom_port: int, now_ns: int) -> None:
        """Takes in the listening sockets that a scan found."""
        known = {one.fd: one.cookie for one in found}
        for fd, cookie in known.items():
            if self.cookies.get(fd) != cookie:
                with contextlib.suppress(OSError):
                    self._alarm.arm(fd)
                logger.info("watching the DICOM server's listening socket on port %d", dicom_port)
        changed, self.cookies = known != self.cookies, known
        if changed or Reason.LISTENER not in self._schedule:
            first_ms, limit_ms = (self._rescan_ms, self._rescan_ms) if known else (20, 1000)
            self._schedule.begin(Reason.LISTENER, now_ns, first_ms, limit_ms)
        self._end_accepting(found)

    def _end_accepting(self, found: list[FoundSocket]) -> None:
        """Ends the scans for an accepted connection when none waits and its descriptor had the time to appear."""
        waiting = any(one.info.unacked for one in found)
        self._quiet_scans = 0 if waiting else self._quiet_scans + 1
        if self._quiet_scans >= _QUIET_SCANS:
            self._schedule.end(Reason.ACCEPTING)

    def close(self, raw: RawSockets) -> None:
        """Leaves the sockets as they were found, and forgets them."""
        for fd, cookie in self.cookies.items():
            if raw.cookie(fd) == cookie:
                self._alarm.disarm(fd)
        self._alarm.close()
        self.cookies = {}
