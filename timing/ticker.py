"""One thread for what timing does by the clock: folding, publishing, trimming."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Action:
    every_s: float
    run: Callable[[], None]
    due_s: float
    failures: int = 0


class Ticker:
    """Runs each action every so many seconds on a thread of its own; one that raises is logged once and tried again.

    Args:
        actions: (seconds, function); seconds of 0 mean never.
        clock: seconds, monotonic.
    """

    def __init__(
        self, actions: Iterable[tuple[float, Callable[[], None]]], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._actions = [_Action(every_s, run, clock() + every_s) for every_s, run in actions if every_s > 0]
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        if self._thread is None and self._actions:
            self._thread = threading.Thread(target=self._loop, name="stage-timing", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; False where it is still there after that time."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def run_due(self) -> float:
        """Run what is due; return the seconds until something is again."""
        for action in self._actions:
            now_s = self._clock()
            if now_s >= action.due_s:
                # From now, not from when it was due: after a suspend nothing is made up for.
                action.due_s = now_s + action.every_s
                _run(action)
        return max(0.0, min(action.due_s for action in self._actions) - self._clock())

    def _loop(self) -> None:
        while not self._stopping.wait(self.run_due()):
            pass


def _run(action: _Action) -> None:
    try:
        action.run()
    except Exception:  # noqa: BLE001 - the other actions go on
        action.failures += 1
        if action.failures == 1:
            _log.warning("stage timing: %s failed (logged once)", action.run.__qualname__, exc_info=True)
