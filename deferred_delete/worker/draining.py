"""Decides whether a batch is drained now and, if not, how long to sleep."""

import math

from ..ledger.ledger import Ledger
from .drainer import Drainer
from .rest import Rest
from .wait_reason import WaitReason
from .window import DrainWindow


class Draining:
    """For the worker's thread alone.

    Args:
        ledger: Where the deletions are.
        drainer: Drains one batch.
        window: Whether deletions may run.
        waiting: Gets the reason to wait.
    """

    def __init__(self, ledger: Ledger, drainer: Drainer, window: DrainWindow, waiting: WaitReason) -> None:
        self._ledger = ledger
        self._drainer = drainer
        self._window = window
        self._waiting = waiting
        self._rest = Rest()

    def step(self) -> float:
        """Drains one batch, if there is one to drain; returns how long to sleep, in seconds. Raises LedgerError."""
        if (left_s := self._rest.left_s) > 0:
            return left_s
        self._drainer.recover()
        due_ms = self._ledger.next_due()
        now_ms = self._ledger.clock.now_ms()
        if due_ms is None or due_ms > now_ms:
            if self._ledger.order.active and self._ledger.order.hasten(now_ms):
                return 0.0
            return self._wait_until(due_ms, now_ms)
        if not self._window.open:
            return self._wait_for_window()
        return self._drain(now_ms)

    def recover(self) -> None:
        """Gives back what a batch that ended in an error still holds. Raises LedgerError."""
        self._drainer.recover()

    def rest(self) -> float:
        """Unlinks nothing for a while after an error bigger than one file; returns how long, in seconds."""
        rest_s = self._rest.begin()
        self._waiting.set("trouble", rest_s)
        return rest_s

    def _wait_until(self, due_ms: int | None, now_ms: int) -> float:
        self._rest.reset()
        if due_ms is None:
            self._waiting.set_due(None)
            return math.inf
        wait_s = (due_ms - now_ms) / 1000
        self._waiting.set_due(wait_s)
        return wait_s

    def _wait_for_window(self) -> float:
        opens_in_s = self._window.opens_in_s()
        self._waiting.set("schedule", opens_in_s)
        return self._window.check_again_s(opens_in_s)

    def _drain(self, now_ms: int) -> float:
        self._waiting.clear()
        outcome = self._drainer.run_once(now_ms)
        if outcome.all_failed:
            return self.rest()
        self._rest.reset()
        return 0.0
