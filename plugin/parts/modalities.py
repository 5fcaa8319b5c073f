"""Asks Orthanc for the TCP ports of its modalities.

They change at runtime (PUT /modalities/NAME), and with DicomModalitiesInDatabase orthanc.json does not have them.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Collection

from ..config import modality_ports
from ..loopback import Loopback, LoopbackError

logger = logging.getLogger(__name__)

_REQUEST_TIMEOUT_S = 4.0  # less than a stop may take
_RETRY_S = (1.0, 5.0, 30.0)


class ModalitiesUnknownError(Exception):
    """Orthanc did not tell its modalities; the message is one line."""


class ModalityFollower:
    """A thread that asks Orthanc for its modalities at start and after each change.

    The change arrives in a callback, where no request to Orthanc may be made.

    Args:
        loopback: a client of this Orthanc.
        on_ports: called with the ports after each answer.
        retry_s: pauses before the next try where Orthanc did not answer. After the last one it waits for the next
            change.
    """

    def __init__(
        self, loopback: Loopback, on_ports: Callable[[Collection[int]], None], retry_s: Collection[float] = _RETRY_S
    ) -> None:
        self._loopback = loopback
        self._on_ports = on_ports
        self._retry_s = tuple(retry_s)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread, which asks at once."""
        if self._thread is not None:
            return
        self._stopping.clear()
        self._wake.set()
        self._thread = threading.Thread(target=self._run, name="dicom-modalities", daemon=True)
        self._thread.start()

    def changed(self) -> None:
        """Tells that the modalities have changed (UPDATED_MODALITIES); returns at once."""
        self._wake.set()

    def stop(self, timeout_s: float) -> bool:
        """Ends the thread; False where it still runs after that time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._stopping.set()
        self._wake.set()
        thread.join(timeout_s)
        return not thread.is_alive()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            if self._stopping.is_set():
                return
            self._wake.clear()
            self._ask_with_retries()

    def _ask_with_retries(self) -> None:
        for pause_s in (*self._retry_s, None):
            try:
                self._on_ports(self._ask())
                return
            except (LoopbackError, ModalitiesUnknownError) as error:
                if pause_s is None:
                    logger.warning("ports of modalities not read, those known before are kept: %s", error)
                elif self._wake.wait(pause_s):  # another change, or stop: `_run` goes on from there
                    return

    def _ask(self) -> set[int]:
        answer = self._loopback.request("GET", "/modalities?expand", timeout_s=_REQUEST_TIMEOUT_S)
        if answer.status != 200:
            raise ModalitiesUnknownError(f"GET /modalities?expand: HTTP {answer.status}")
        try:
            return modality_ports(json.loads(answer.body))
        except ValueError as error:
            raise ModalitiesUnknownError(f"GET /modalities?expand: {error}") from None
