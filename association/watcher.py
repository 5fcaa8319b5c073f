"""The watcher's loop: sleeps in epoll until bytes arrive on an association, then has them acknowledged at once.

How many calls does a data set need? In the kernel's terms (net/ipv4/tcp_output.c, tcp_input.c, tcp.c): sending a
response shortly after receiving puts the connection into "pingpong" mode (tcp_event_data_sent), in which
acknowledgements wait up to 40 ms for data to ride on. TCP_QUICKACK ends that mode and sends what waits; it lasts until
the next response. Out of pingpong mode, tcp_cleanup_rbuf acknowledges as soon as DCMTK has read everything and a small
segment was among it. So one call per response is enough, at any time between the response and the end of the next data
set; the first bytes of the next request are what wakes us.

Why EPOLLOUT among the events: an edge-triggered epoll_wait asks the socket again before it reports, and when DCMTK has
read the bytes already there is nothing to report; the wake-up is lost, and the 40 ms are back (measured: most of them).
A connection can nearly always be written to, so with EPOLLOUT in the mask each arrival is reported, also those that
DCMTK has read first.

A descriptor that DCMTK closes leaves the epoll set by itself, as the set refers to the connection without keeping it
open (man epoll(7)).
"""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time

from .accepting import Listeners
from .listener import ConnectionAlarm
from .schedule import Reason, Schedule
from .settings import Settings
from .sockets import FoundSocket, RawSockets, Role
from .wakeup import Wakeup
from .watched import Association, Counters

logger = logging.getLogger(__name__)

_ARRIVALS = select.EPOLLIN | select.EPOLLOUT | select.EPOLLET
_ANSWER_EXPECTED_MS = 10  # a C-STORE is answered within; a C-MOVE opens an association of its own meanwhile


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
        self.lock = threading.Lock()  # guards associations, held for microseconds
        self.associations: dict[int, Association] = {}
        self.modality_ports: frozenset[int] = frozenset()
        self._expected_outgoing = 0
        self._epoll = select.epoll()
        self._wakeup = Wakeup()
        self._epoll.register(self._wakeup.fd, select.EPOLLIN)
        self._raw = RawSockets()
        self._schedule = Schedule()
        self._max_pause_ns = int(settings.max_pause_ms * 1e6)
        self._stopping = False
        self._rescan = False
        self._listeners: Listeners | None = None

    @property
    def listening(self) -> bool:
        """Whether a listening socket of the DICOM server is known."""
        return bool(self._listeners and self._listeners.cookies)

    def stop(self) -> None:
        """Wakes the watcher and ends `run`."""
        self._stopping = True
        self._wakeup.wake()

    def rescan(self) -> None:
        """Wakes the watcher and has it scan all descriptors."""
        self._rescan = True
        self._wakeup.wake()

    def expect_outgoing(self, change: int) -> None:
        """Counts what makes Orthanc open associations: +1 when it begins, -1 when it has ended."""
        with self.lock:
            self._expected_outgoing = max(0, self._expected_outgoing + change)
        self._wakeup.wake()

    def run(self) -> None:
        """Watches until `stop`. Descriptors are closed when it ends, also where it raises."""
        try:
            alarm = ConnectionAlarm()  # here: it is for the thread that makes it
            listeners = Listeners(alarm, self._schedule, self.settings.rescan_seconds)
            self._listeners = listeners
            self._epoll.register(alarm.fd, select.EPOLLIN)
            self._scan(listeners, time.monotonic_ns())
            while not self._stopping:
                self._step(alarm.fd, listeners)
        finally:
            self._close()

    def _step(self, alarm_fd: int, listeners: Listeners) -> None:
        """Waits for one wake-up, does what it asks for, and pauses while nothing else is needed."""
        events = self._epoll.poll(self._schedule.timeout_s(time.monotonic_ns()))
        now_ns = time.monotonic_ns()
        self.counters.wake_ups += 1
        pause_ns = self._max_pause_ns
        for fd, _ in events:
            if fd == self._wakeup.fd:
                self._wakeup.drain()
            elif fd == alarm_fd:
                listeners.connection_came(now_ns)
                pause_ns = 0
            else:
                pause_ns = min(pause_ns, self._arrived(fd, now_ns))
        self._scan_if_due(listeners, now_ns)
        self.counters.cpu_ns = time.thread_time_ns()
        if events and pause_ns > 0:
            time.sleep(pause_ns / 1e9)

    def _arrived(self, fd: int, now_ns: int) -> int:
        """Bytes came, or the peer has closed: acknowledges and observes.

        Returns:
            For how many nanoseconds nothing else is needed.
        """
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

    def _scan_if_due(self, listeners: Listeners, now_ns: int) -> None:
        if self.modality_ports and self.settings.outgoing:
            self._schedule_outgoing(now_ns)
        if now_ns >= self._schedule.next_ns or self._rescan:
            self._schedule.take(now_ns)
            self._rescan = False
            self._scan(listeners, now_ns)

    def _schedule_outgoing(self, now_ns: int) -> None:
        """Schedules scans for outgoing associations: a job was announced, or a request waits (C-MOVE)."""
        if not (self._expected_outgoing or self._unanswered(now_ns)):
            self._schedule.end(Reason.OUTGOING)
        elif Reason.OUTGOING not in self._schedule:
            first_ms = 1 if self._expected_outgoing else _ANSWER_EXPECTED_MS
            self._schedule.begin(Reason.OUTGOING, now_ns, first_ms, 100)

    def _unanswered(self, now_ns: int) -> bool:
        """Returns whether a request waits for our answer. Only the counters tell that an answer was sent."""
        with self.lock:
            for fd, association in self.associations.items():
                if association.role is Role.INCOMING and association.observation.unanswered:
                    info = self._raw.info(fd)
                    if info is not None:
                        association.observation.look(now_ns, info)
            return any(one.role is Role.INCOMING and one.observation.unanswered for one in self.associations.values())

    def _scan(self, listeners: Listeners, now_ns: int) -> None:
        """Scans all descriptors of the process: takes in new connections, forgets those that are gone."""
        self.counters.scans += 1
        ports = self.modality_ports if self.settings.outgoing else frozenset()
        found = list(self._raw.scan(self.dicom_port, ports))
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
        listeners.follow([one for one in found if one.role is Role.LISTENER], self.dicom_port, now_ns)

    def _register(self, found: FoundSocket) -> None:
        # FileExistsError: the number is in the set already, and as closed descriptors leave it, by the same connection.
        # Other OSErrors: closed since the scan. Being writable it is reported at once, which is its first
        # acknowledgement.
        with contextlib.suppress(OSError):
            self._epoll.register(found.fd, _ARRIVALS)
        self.counters.associations_seen += 1
        self.counters.outgoing_seen += found.role is Role.OUTGOING
        logger.debug("watching %s association on descriptor %d", found.role.value, found.fd)

    def _close(self) -> None:
        if self._listeners is not None:
            self._listeners.close(self._raw)
        with self.lock:
            self.associations.clear()
        self._epoll.close()
        self._wakeup.close()
