"""Helpers for a start that may fail: log the error and go on, or try again later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from support.one_line import one_line

logger = logging.getLogger(__name__)


def attempt(action: Callable[[], object], failed: str, lost: str = "") -> None:
    """Calls `action`; an exception becomes one line in the log, and the caller goes on.

    Args:
        action: what may raise.
        failed: the log line if it raises: what did not work.
        lost: the consequence, for the same line.
    """
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it was, the others go on
        logger.error("%s: %s%s", failed, one_line(error), f": {lost}" if lost else "")  # noqa: TRY400 - one line


class RepeatedStart:
    """Starts something at once. If that raises, tries again on a thread until it works or `stop` is called.

    Args:
        start: called until it does not raise.
        what: its name in the log, in the plural.
        pauses_s: the pauses before the second try, the third and so on, in seconds. The last one is repeated.
    """

    def __init__(self, start: Callable[[], None], what: str, pauses_s: Sequence[float]) -> None:
        self._start = start
        self._what = what
        self._pauses_s = pauses_s
        self._logged_reason = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Makes the first try on the calling thread, later ones on a thread of its own."""
        if not self._try_start():
            self._thread = threading.Thread(target=self._try_again, name="deferred-delete-start", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Stops trying; False if a try is still running after ``timeout_s`` seconds."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _try_again(self) -> None:
        tries = 0
        while not self._stopping.wait(self._pauses_s[min(tries, len(self._pauses_s) - 1)]):
            if self._try_start():
                logger.warning("%s have started", self._what)
                return
            tries += 1

    def _try_start(self) -> bool:
        try:
            self._start()
        except Exception as error:  # noqa: BLE001 - tried again
            reason = one_line(error)
            if reason != self._logged_reason:  # log a reason once: tries may go on for days
                logger.error("%s did not start: %s: tried again until they do", self._what, reason)  # noqa: TRY400
            self._logged_reason = reason
            return False
        return True
