"""The watcher's loop: sleeps in epoll until bytes arrive on an association, then sees to it that they are acknowledged at once.

How many calls does a data set need? In the kernel's terms (net/ipv4/tcp_output.c, tcp_input.c, tcp.c): sending a
response shortly after receiving puts the connection into "pingpong" mode (tcp_event_data_sent), in which
acknowledgements wait up to 40 ms for data to ride on. TCP_QUICKACK ends that mode and sends what waits; it lasts until
the next response. Out of pingpong mode, tcp_cleanup_rbuf acknowledges as soon as DCMTK has read everything and a small
segment was among it. So one call per response is enough, at any time between the response and the end of the next data
set; the first bytes of the next request are what wakes us.

Why EPOLLOUT among the events: an edge-triggered epoll_wait asks the socket again before it reports, and when DCMTK has
read the bytes already there is nothing to report; the wake-up is lost, and the 40 ms are back (measured: most of them).
A connection can nearly always be written to, so with EPOLLOUT in the mask each arrival is reported, whoever was faster.

A descriptor that DCMTK closes leaves the epoll set by itself, as the set refers to the connection without keeping it
open (man epoll(7)).
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import threading
import time

from .listener import ConnectionAlarm
from .observe import Observation
from .schedule import Reason, Schedule
from .settings import Settings
from .sockets import Found, RawSockets, Role

logger = logging.getLogger(__name__)

_ARRIVALS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_ANSWER_EXPECTED_MS = 10  # a C-STORE is answered within; a C-MOVE opens an association of its own meanwhile


class Association:
    """One connection that is watched."""

    __slots__ = ("acknowledged", "cookie", "fd", "observation", "role")

    def __init__(self, found: Found, now_ns: int) -> None:
        self.fd = found.fd
        self.cookie = found.cookie
        self.role = found.role
        self.observation = Observation(now_ns, found.info)
        self.acknowledged = -1  # data segments we had sent when we last left pingpong mode

    def __repr__(self) -> str:
        return f"Association(fd={self.fd}, cookie={self.cookie}, {self.role.value})"


class Counters:
    """What the watcher has done since it was made; written by its thread only."""

    def __init__(self) -> None:
        self.associations_seen = 0
        self.outgoing_seen = 0
        self.wake_ups = 0
        self.acks_forced = 0
        self.scans = 0
        self.cpu_ns = 0


class Watcher:
    """Runs on one thread; the other methods may be called from any.

    Args:
        settings: the section.
        dicom_port: of the DICOM server in this process.

    Raises:
        OSError: no descriptors left, or a kernel without what is needed.
    """

    def __init__(self, settings: Settings, dicom_port: int) -> None:
        self.settings = settings
        self.dicom_port = dicom_port
        self.counters = Counters()
        self.lock = threading.Lock()  # guards associations and listeners, held for microseconds
        self.associations: dict[int, Association] = {}
        self.listeners: dict[int, int] = {}
        self.modality_ports: frozenset[int] = frozenset()
        self._expected_outgoing = 0
        self._epoll = select.epoll()
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._wake_fd, select.EPOLLIN)
        self._raw = RawSockets()
        self._schedule = Schedule()
        self._longest_pause_ns = int(settings.max_pause_ms * 1e6)
        self._stopping = False
        self._rescan = False
        self._quiet_scans = 0

    def stop(self) -> None:
        """Ends `run` at its next step; it is woken for that."""
        self._stopping = True
        self._wake()

    def rescan(self) -> None:
        """Has the watcher look at all descriptors now."""
        self._rescan = True
        self._wake()

    def expect_outgoing(self, change: int) -> None:
        """Counts what makes Orthanc open associations: +1 when it begins, -1 when it has ended."""
        with self.lock:
            self._expected_outgoing = max(0, self._expected_outgoing + change)
        self._wake()

    def _wake(self) -> None:
        # Under the lock: a number closed meanwhile could be DCMTK's by now, and these eight bytes would reach a peer.
        with self.lock:
            if self._wake_fd >= 0:
                with contextlib.suppress(BlockingIOError):  # the counter is full: it is about to wake
                    os.eventfd_write(self._wake_fd, 1)

    def run(self) -> None:
        """The loop, until `stop`. Descriptors are closed when it ends, whatever ended it."""
        alarm = None
        try:
            alarm = ConnectionAlarm()
            self._epoll.register(alarm.fd, select.EPOLLIN)
            self._scan(alarm, time.monotonic_ns())
            while not self._stopping:
                self._step(alarm)
        finally:
            self._close(alarm)

    def _step(self, alarm: ConnectionAlarm) -> None:
        """Waits for one wake-up, does what it asks for, and sleeps over what is known to come next."""
        events = self._epoll.poll(self._schedule.timeout_s(time.monotonic_ns()))
        now_ns = time.monotonic_ns()
        self.counters.wake_ups += 1
        pause_ns = self._longest_pause_ns
        for fd, _ in events:
            if fd == self._wake_fd:
                os.eventfd_read(fd)
            elif fd == alarm.fd:
                alarm.drain()
                self._quiet_scans = 0
                self._schedule.begin(Reason.ACCEPTING, now_ns, 0, 50)
                pause_ns = 0
            else:
                pause_ns = min(pause_ns, self._arrived(fd, now_ns))
        self._look_around(alarm, now_ns)
        self.counters.cpu_ns = time.thread_time_ns()
        if events and pause_ns > 0:
            time.sleep(pause_ns / 1e9)

    def _arrived(self, fd: int, now_ns: int) -> int:
        """Bytes came, or the peer has closed: acknowledges and observes. Returns for how long nothing else is needed (ns)."""
        with self.lock:
            association = self.associations.get(fd)
            info = self._raw.info(fd)
            if association is None or info is None:
                return 0
            observation = association.observation
            observation.look(now_ns, info)
            if info.data_segments_sent == association.acknowledged:
                return observation.pause_ns
            association.acknowledged = info.data_segments_sent
        if self.settings.quick_ack and self._raw.quick_ack(fd):
            self.counters.acks_forced += 1
        return observation.pause_ns

    def _look_around(self, alarm: ConnectionAlarm, now_ns: int) -> None:
        if self.modality_ports and self.settings.outgoing:
            self._expect_outgoing(now_ns)
        if now_ns >= self._schedule.next_ns or self._rescan:
            self._schedule.take(now_ns)
            self._rescan = False
            self._scan(alarm, now_ns)

    def _expect_outgoing(self, now_ns: int) -> None:
        """A job that was announced, or a request without an answer (C-MOVE): look for associations that this process opens."""
        if not (self._expected_outgoing or self._unanswered(now_ns)):
            self._schedule.end(Reason.OUTGOING)
        elif Reason.OUTGOING not in self._schedule:
            first_ms = 1 if self._expected_outgoing else _ANSWER_EXPECTED_MS
            self._schedule.begin(Reason.OUTGOING, now_ns, first_ms, 100)

    def _unanswered(self, now_ns: int) -> bool:
        """Whether a request waits for our answer. No event tells of an answer that is sent: the counters do."""
        with self.lock:
            for fd, association in self.associations.items():
                if association.role is Role.INCOMING and association.observation.unanswered:
                    info = self._raw.info(fd)
                    if info is not None:
                        association.observation.look(now_ns, info)
            return any(one.role is Role.INCOMING and one.observation.unanswered for one in self.associations.values())

    def _scan(self, alarm: ConnectionAlarm, now_ns: int) -> None:
        """Looks at all descriptors of the process: takes in what is new, forgets what is gone."""
        self.counters.scans += 1
        ports = self.modality_ports if self.settings.outgoing else frozenset()
        found = list(self._raw.scan(self.dicom_port, ports))
        listeners = [one for one in found if one.role is Role.LISTENER]
        connections = {one.fd: one for one in found if one.role is not Role.LISTENER}
        with self.lock:
            for fd, association in list(self.associations.items()):
                if fd not in connections or connections[fd].cookie != association.cookie:
                    del self.associations[fd]
            new = [one for fd, one in connections.items() if fd not in self.associations]
            for one in new:
                self.associations[one.fd] = Association(one, now_ns)
        for one in new:
            self._register(one)
        self._follow_listeners(alarm, listeners, now_ns)

    def _register(self, found: Found) -> None:
        # FileExistsError: the number is in the set already, and as closed descriptors leave it, by the same connection.
        # Other OSErrors: closed since the scan. Being writable it is reported at once, which is its first
        # acknowledgement.
        with contextlib.suppress(OSError):
            self._epoll.register(found.fd, _ARRIVALS)
        self.counters.associations_seen += 1
        self.counters.outgoing_seen += found.role is Role.OUTGOING
        logger.debug("watching %s association on descriptor %d", found.role.value, found.fd)

    def _follow_listeners(self, alarm: ConnectionAlarm, listeners: list[Found], now_ns: int) -> None:
        known = {one.fd: one.cookie for one in listeners}
        for fd, cookie in known.items():
            if self.listeners.get(fd) != cookie:
                with contextlib.suppress(OSError):
                    alarm.arm(fd)
                logger.info("watching the DICOM server's listening socket on port %d", self.dicom_port)
        with self.lock:
            changed, self.listeners = known != self.listeners, known
        if changed or Reason.LISTENER not in self._schedule:
            beat_ms = self.settings.rescan_seconds * 1000
            self._schedule.begin(Reason.LISTENER, now_ns, beat_ms if known else 20, beat_ms if known else 1000)
        self._follow_accepting(listeners)

    def _follow_accepting(self, listeners: list[Found]) -> None:
        """Ends the looks for an accepted connection when none waits and its descriptor had the time to appear."""
        waiting = any(one.info.unacked for one in listeners)
        self._quiet_scans = 0 if waiting else self._quiet_scans + 1
        if self._quiet_scans >= 3:
            self._schedule.end(Reason.ACCEPTING)

    def _close(self, alarm: ConnectionAlarm | None) -> None:
        if alarm is not None:
            for fd, cookie in self.listeners.items():
                if self._raw.cookie(fd) == cookie:
                    alarm.disarm(fd)
            alarm.close()
        with self.lock:
            self.associations.clear()
            self.listeners = {}
            wake_fd, self._wake_fd = self._wake_fd, -1
        self._epoll.close()
        os.close(wake_fd)
