"""Starts and stops the watcher, tells its state, and when a data set arrived: what the plugin calls."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING

import msgspec

from .observe import ReceiveTimes
from .settings import Settings
from .sockets import OPEN_STATES, RawSockets, Role
from .tcp_info import TcpInfo

if TYPE_CHECKING:
    from .watched import Association
    from .watcher import Watcher

logger = logging.getLogger(__name__)


class TunerStatus(msgspec.Struct, frozen=True, kw_only=True):
    """State of the watcher; counts since it was started."""

    supported: bool  # on Linux; elsewhere only NoDelay works
    running: bool
    listening: bool  # the DICOM server's listening socket has been found
    open_associations: int
    open_outgoing: int
    associations_seen: int
    outgoing_seen: int
    acks_forced: int
    wake_ups: int
    cpu_seconds: float  # of the watcher's thread
    modality_ports: list[int]  # remote ports that are looked for while Orthanc sends
    problem: str  # why the watcher ended by itself; empty otherwise


class Tuner:
    """Keeps the DICOM server's connections free of delayed acknowledgements.

    Args:
        settings: the section DicomAssociations.
        dicom_port: Orthanc's DicomPort.
        modality_ports: TCP ports of the modalities that Orthanc sends to; empty: outgoing associations are not looked
            for.
    """

    def __init__(self, settings: Settings, dicom_port: int, modality_ports: Collection[int] = ()) -> None:
        self._settings = settings
        self._dicom_port = dicom_port
        self._modality_ports = frozenset(modality_ports)
        self._supported = sys.platform.startswith("linux")
        self._watcher: Watcher | None = None
        self._thread: threading.Thread | None = None
        self._problem = ""
        self._raw: RawSockets | None = None  # for callers; the watcher has its own
        self._raw_lock = threading.Lock()

    def start(self) -> None:
        """Starts the watcher's thread (on ORTHANC_STARTED).

        Does nothing where it runs already, is switched off or cannot work.
        """
        if self._thread is not None or not (self._settings.enable and self._settings.quick_ack):
            return
        if not self._supported:
            logger.warning("QuickAck needs Linux: on %s only NoDelay works", sys.platform)
            return
        from .watcher import Watcher  # not before: epoll and fcntl exist on Linux only

        try:
            self._raw = self._raw or RawSockets()
            watcher = Watcher(self._settings, self._dicom_port)
        except (OSError, AttributeError) as error:
            self._problem = f"{type(error).__name__}: {error}"
            logger.warning("QuickAck does not work here, only NoDelay does: %s", self._problem)
            return
        watcher.modality_ports = self._modality_ports
        self._watcher = watcher
        # A daemon: were stop() never called, the interpreter's end must not wait for it.
        self._thread = threading.Thread(target=self._run, args=(watcher,), name="dicom-associations", daemon=True)
        self._thread.start()

    def _run(self, watcher: Watcher) -> None:
        try:
            watcher.run()
        except Exception as error:
            self._problem = f"{type(error).__name__}: {error}"
            logger.exception("the watcher of DICOM associations has ended: C-STORE goes on, slower")

    def stop(self, timeout_s: float) -> bool:
        """Ends the watcher's thread (on ORTHANC_STOPPED).

        Args:
            timeout_s: how long to wait for it; it takes a few milliseconds.

        Returns:
            False where it was still there after that time.
        """
        thread, watcher = self._thread, self._watcher
        if thread is None or watcher is None:
            return True
        watcher.stop()
        thread.join(timeout_s)
        if thread.is_alive():
            logger.warning("the watcher of DICOM associations did not end within %g s", timeout_s)
            return False
        self._thread = None
        return True

    def status(self) -> TunerStatus:
        """Returns the state now, for a status route. It scans nothing and changes nothing."""
        watcher, thread = self._watcher, self._thread
        counters = watcher.counters if watcher else None
        still_open = [association.role for association, _ in self._open()]
        return TunerStatus(
            supported=self._supported,
            running=thread is not None and thread.is_alive(),
            listening=watcher is not None and watcher.listening,
            open_associations=still_open.count(Role.INCOMING),
            open_outgoing=still_open.count(Role.OUTGOING),
            associations_seen=counters.associations_seen if counters else 0,
            outgoing_seen=counters.outgoing_seen if counters else 0,
            acks_forced=counters.acks_forced if counters else 0,
            wake_ups=counters.wake_ups if counters else 0,
            cpu_seconds=counters.cpu_ns / 1e9 if counters else 0.0,
            modality_ports=sorted(self._modality_ports),
            problem=self._problem,
        )

    def receive_times(self, size_bytes: int, now_ns: int) -> ReceiveTimes | None:
        """Tells how long the data set that a callback has just got was waited for and received.

        Call it from the callback itself: until it returns, DCMTK reads nothing more of that association and its peer
        sends nothing.

        Args:
            size_bytes: of the DICOM file as it came, before anyone transcoded it.
            now_ns: time.monotonic_ns().

        Returns:
            None where no association, or more than one, can have sent that many bytes since its last response; never a
            guess.
        """
        watcher = self._watcher
        if watcher is None:
            return None
        fitting = [
            (one, info)
            for one, info in self._open()
            if one.role is Role.INCOMING and one.observation.fits(size_bytes, info)
        ]
        if not fitting and not watcher.associations:
            watcher.rescan()  # an instance, but from no association we know: the server must listen on a new socket
        if len(fitting) != 1:
            return None
        association, info = fitting[0]
        with watcher.lock:
            times = association.observation.take(now_ns, info)
        return times and times._replace(cookie=association.cookie)

    def outgoing_begins(self) -> None:
        """Has the watcher look for outgoing associations: Orthanc is about to open some (on JobSubmitted)."""
        if self._watcher is not None:
            self._watcher.expect_outgoing(1)

    def outgoing_ends(self) -> None:
        """Undoes one call of `outgoing_begins` (on JobSuccess and JobFailure)."""
        if self._watcher is not None:
            self._watcher.expect_outgoing(-1)

    def set_modality_ports(self, ports: Collection[int]) -> None:
        """Replaces the TCP ports of the modalities (on UpdatedModalities)."""
        self._modality_ports = frozenset(ports)
        if self._watcher is not None:
            self._watcher.modality_ports = self._modality_ports

    def _open(self) -> list[tuple[Association, TcpInfo]]:
        """Returns the associations that are open now, with their counters; descriptors reused since are left out."""
        watcher, raw = self._watcher, self._raw
        if watcher is None or raw is None:
            return []
        with watcher.lock:
            known = list(watcher.associations.values())
        with self._raw_lock:
            pairs = [(one, raw.info(one.fd)) for one in known if raw.cookie(one.fd) == one.cookie]
        return [(one, info) for one, info in pairs if info is not None and info.state in OPEN_STATES]
