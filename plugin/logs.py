"""Writes what Python's logging gets into Orthanc's log."""

from __future__ import annotations

import logging
from types import ModuleType

PACKAGES = ("plugin", "deferred_delete", "transcoder", "guard", "timing", "association", "dicom", "support")


class OrthancLogHandler(logging.Handler):
    """Writes each record as one line of Orthanc's log, at Orthanc's level.

    Only the SDK's Log functions are safe inside storage callbacks and on our threads: they take no lock of the core.
    """

    def __init__(self, sdk: ModuleType) -> None:
        super().__init__(logging.INFO)
        self._sdk = sdk

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one record; line breaks are replaced, since programs read the log line by line."""
        try:
            line = f"{record.name}: {self.format(record)}".replace("\n", " | ")
            if record.levelno >= logging.ERROR:
                self._sdk.LogError(line)
            elif record.levelno >= logging.WARNING:
                self._sdk.LogWarning(line)
            else:
                self._sdk.LogInfo(line)
        except Exception:  # noqa: BLE001 - a log line that cannot be written must not cost an instance
            self.handleError(record)


def install(sdk: ModuleType) -> None:
    """Sends the log of the bundle's packages to Orthanc; that of other libraries is left alone."""
    handler = OrthancLogHandler(sdk)
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
