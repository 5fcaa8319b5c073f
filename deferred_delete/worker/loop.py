"""What the worker's thread does: upkeep, then a batch, then sleep."""

import logging
from typing import Final

from support.rate_limited_log import RateLimitedLog

from ..errors import DeferredDeleteError, LedgerClosedError
from .alarm import Alarm
from .control import Control, Mode
from .counters import Counters
from .draining import Draining
from .upkeep import Upkeep

_log = logging.getLogger(__name__)

# If nothing is due for longer than this, the ledger is read again all the same.
_MAX_SLEEP_S: Final = 3600.0


class Loop:
    """Outlives every exception.

    Args:
        control: Says when to run, to rest and to end.
        alarm: Ends a sleep.
        upkeep: Goes on in every mode.
        draining: Drains batches.
        counters: Gets the last error.
    """

    def __init__(
        self,
        control: Control,
        alarm: Alarm,
        upkeep: Upkeep,
        draining: Draining,
        counters: Counters,
    ) -> None:
        self._control = control
        self._alarm = alarm
        self._upkeep = upkeep
        self._draining = draining
        self._counters = counters
        self._log_limit = RateLimitedLog()

    def run(self) -> None:
        """Runs until the mode is STOPPING, or the ledger is closed."""
        while True:
            # Cleared before anything is read, the mode too: what happens from here on cuts the sleep below short.
            self._alarm.clear()
            if self._control.mode is Mode.STOPPING:
                break
            self._alarm.wait(min(self._cycle_safely(), _MAX_SLEEP_S))

    def _cycle_safely(self) -> float:
        """One cycle, whatever happens; returns how long to sleep, in seconds."""
        try:
            return self._cycle()
        except LedgerClosedError:  # it is not opened again: nothing is left to do
            self._control.stop(True)
            return 0.0
        except Exception as error:  # noqa: BLE001  the thread outlives everything: without it nothing is ever deleted
            self._counters.last_error = str(error) or repr(error)
            expected = isinstance(error, DeferredDeleteError)
            sleep_s = self._draining.rest()
            if (more := self._log_limit.allow()) is not None:
                _log.error("worker goes on in %.1f s after: %s%s", sleep_s, error, more, exc_info=not expected)
            return sleep_s

    def _cycle(self) -> float:
        sleep_s = self._upkeep.do()
        mode = self._control.mode
        if mode is Mode.WITHHELD:
            self._draining.recover()  # a restore waits for what a batch that ended in an error still holds
        if mode in (Mode.WITHHELD, Mode.PAUSED):
            return sleep_s
        return min(sleep_s, self._draining.step())
