"""How full the storage disk is, and whether that is nearly full."""

import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_log = logging.getLogger(__name__)

# How often the disk is asked, while deletions wait for something that pressure would lift.
CHECK_EVERY_S: Final = 5.0
# Pressure ends only this far above where it began: a disk at the limit must not flip at each file.
_HYSTERESIS_PERCENT: Final = 1.0
# A healthy disk answers in microseconds; for one that does not, the last answer is returned.
_MAX_WAIT_S: Final = 0.05


def free_percent(root: Path) -> float:
    """The part of the disk that Orthanc may still fill, in percent. Raises OSError."""
    disk = os.statvfs(root)
    return 100.0 * disk.f_bavail / disk.f_blocks if disk.f_blocks else 100.0


class DiskPressure:
    """True from when less than the minimum is free, until a little more is.

    Args:
        root: A folder on the disk.
        minimum_percent: ``MinimumFreeDiskPercent``; 0: never pressed, the disk is not asked.
        free: Asks the disk.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self,
        root: Path,
        minimum_percent: float,
        *,
        free: Callable[[Path], float] = free_percent,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watched = minimum_percent > 0
        self._root = root
        self._minimum_percent = minimum_percent
        self._free = free
        self._monotonic = monotonic
        self._check_at = float("-inf")
        self._pressed = False

    def __call__(self) -> bool:
        """Whether the disk is pressed; asks it at most every CHECK_EVERY_S. Any thread."""
        if self.watched and self._monotonic() >= self._check_at:
            self._check_at = self._monotonic() + CHECK_EVERY_S
            self._check()
        return self._pressed

    def _check(self) -> None:
        try:
            free = self._free(self._root)
        except OSError as error:
            _log.warning("cannot ask how full the storage disk is: %s", error)
            return
        pressed = free < self._minimum_percent + (_HYSTERESIS_PERCENT if self._pressed else 0.0)
        if pressed and not self._pressed:
            _log.warning(
                "the storage disk has %.1f %% left, less than MinimumFreeDiskPercent (%g): deleting at full speed "
                "what is due, whatever schedule and limits say",
                free,
                self._minimum_percent,
            )
        elif self._pressed and not pressed:
            _log.warning("the storage disk has %.1f %% left again: schedule and limits hold again", free)
        self._pressed = pressed


class FreeDisk:
    """How much room there is, for the status. Never waits for long: a network disk may hang.

    Args:
        root: A folder on the disk.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(self, root: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._root = root
        self._monotonic = monotonic
        self._check_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._bytes: int | None = None

    def __call__(self) -> int | None:
        """Bytes that Orthanc may still write; None until that is known. Any thread.

        The number may be older than CHECK_EVERY_S if the disk hangs.
        """
        if self._monotonic() >= self._check_at and (self._thread is None or not self._thread.is_alive()):
            self._check_at = self._monotonic() + CHECK_EVERY_S
            self._thread = threading.Thread(target=self._check, name="deferred-delete-disk", daemon=True)
            self._thread.start()
            self._thread.join(_MAX_WAIT_S)
        return self._bytes

    def _check(self) -> None:
        try:
            disk = os.statvfs(self._root)
        except OSError:
            self._bytes = None
        else:
            self._bytes = disk.f_bavail * disk.f_frsize
