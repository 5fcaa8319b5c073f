"""The ledger's clock."""

import time
from collections.abc import Callable


class LedgerClock:
    """Milliseconds since 1970 that never run backwards and never jump while the process runs.

    The wall clock is read once, at start; from there the monotonic clock counts. So an operator or NTP setting the
    clock back does not stall deletions, and setting it forward does not cut the grace period short. Across restarts the
    clock never starts before the newest row: if a machine comes up in 1970, yesterday's rows are still due in their
    order, not in fifty years.

    Args:
        floor_ms: The latest time the ledger holds, in ms since 1970.
        wall: Seconds since 1970.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self,
        floor_ms: int = 0,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        wall_ms = int(wall() * 1000)
        self.set_back_by_ms = max(0, floor_ms - wall_ms)
        self._origin_ms = max(wall_ms, floor_ms) - int(monotonic() * 1000)

    def now_ms(self) -> int:
        """The time, in ms since 1970."""
        return self._origin_ms + int(self._monotonic() * 1000)
