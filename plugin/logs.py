"""Python's logging into Orthanc's log."""

from __future__ import annotations

import logging
from types import ModuleType

PACKAGES = ("plugin", "deferred_delete", "transcoder", "guard", "timing", "association", "dicom", "support")


class OrthancLogHandler(logging.Handler):
    """Writes each record as one line of Orthanc's log, at Orthanc's level.

    The SDK's Log functions are the only ones that are safe inside storage callbacks and on threads of ours: they take
    no lock of the core.
    """

    def __init__(self, sdk: ModuleType) -> None:
        super().__init__(logging.INFO)
        self._sdk = sdk

    def emit(self, record: logging.LogRecord) -> None:
        """Hands the record over; a line break would break whoever reads the log line by line."""
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
    """Sends what the bundle's packages log to Orthanc; other libraries keep to their own."""
    handler = OrthancLogHandler(sdk)
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(logging.INFO)
        logger.propagate = False
