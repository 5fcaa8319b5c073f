"""Whether deletions may run at this moment: the schedule, and what overrides it."""

from typing import Final

from ..ledger.ledger import Ledger
from ..storage.free_disk import CHECK_EVERY_S, DiskPressure
from .schedule import Schedule

# The local clock may be set while the worker waits for the schedule: it is read again this often.
_CLOCK_CHECK_S: Final = 900.0


class DrainWindow:
    """Open in the hours of the schedule, after an order to drain now, and while the disk is nearly full.

    Args:
        schedule: The hours.
        pressed: Whether the disk is nearly full.
        ledger: Has the order to drain now.
    """

    def __init__(self, schedule: Schedule, pressed: DiskPressure, ledger: Ledger) -> None:
        self._schedule = schedule
        self._pressed = pressed
        self._ledger = ledger

    @property
    def open(self) -> bool:
        """Whether deletions may run now."""
        # The disk comes first, so that pressure is noticed and logged without a schedule too.
        return self._pressed() or self._ledger.order.active or self._schedule.open

    def opens_in_s(self) -> float | None:
        """Seconds until the schedule opens; None if it never does."""
        return self._schedule.opens_in_s()

    def check_again_s(self, opens_in_s: float | None) -> float:
        """While it is closed: how long to sleep until the next check, in seconds."""
        return min(opens_in_s or _CLOCK_CHECK_S, CHECK_EVERY_S if self._pressed.watched else _CLOCK_CHECK_S)
