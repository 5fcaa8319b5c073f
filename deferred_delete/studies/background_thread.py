"""A thread that runs several tasks in turn: here the background deletion of studies, and restore."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Final

from support.rate_limited_log import RateLimitedLog

from ..errors import LedgerClosedError

_log = logging.getLogger(__name__)

_RETRY_S: Final = 5.0
_MAX_SLEEP_S: Final = 3600.0

# Does a short piece of work; returns how long it has nothing to do, in seconds (None: until it is woken).
Task = Callable[[], float | None]


class BackgroundThread:
    """A daemon thread that runs its tasks in turn, and sleeps when none has anything to do.

    Args:
        name: The thread's.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._tasks: Sequence[Task] = ()
        self._stop = threading.Event()
        self._wakeup = threading.Event()
        self._thread: threading.Thread | None = None
        self._log_limit = RateLimitedLog()

    def start(self, tasks: Sequence[Task]) -> None:
        """Starts the thread."""
        self._tasks = tasks
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Stops after the request under way; False if that takes longer than ``timeout_s`` seconds."""
        self._stop.set()
        self._wakeup.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Runs the tasks now."""
        self._wakeup.set()

    def stopped(self) -> bool:
        """Whether the thread was asked to stop."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> None:
        """Waits so many seconds, or until stopped."""
        self._stop.wait(seconds)

    def _run(self) -> None:
        while not self._stop.is_set():
            # Before the tasks run: a request from here on cuts the sleep short.
            self._wakeup.clear()
            sleeps = [self._do(task) for task in self._tasks]
            sleep_s = min((each for each in sleeps if each is not None), default=_MAX_SLEEP_S)
            if sleep_s > 0:
                self._wakeup.wait(min(sleep_s, _MAX_SLEEP_S))

    def _do(self, task: Task) -> float | None:
        if self._stop.is_set():
            return None
        try:
            return task()
        except LedgerClosedError:
            self._stop.set()
            return None
        except Exception as error:  # noqa: BLE001  the thread goes on; the task is tried again
            if (more := self._log_limit.allow()) is not None:
                _log.error("%s goes on in %.0f s after: %s%s", self._name, _RETRY_S, error, more)
            return _RETRY_S
