"""Starting one thing when another does not start, and trying again what may start later."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from support.one_line import one_line

logger = logging.getLogger(__name__)


def attempt(action: Callable[[], object], failed: str, lost: str = "") -> None:
    """Does it; a raise becomes one line of the log, so that whatever comes next still comes.

    Args:
        action: what may raise.
        failed: what did not work then, in words.
        lost: what does without it from here on.
    """
    try:
        action()
    except Exception as error:  # noqa: BLE001 - whatever it was, the others go on
        logger.error("%s: %s%s", failed, one_line(error), f": {lost}" if lost else "")  # noqa: TRY400 - one line


class RepeatedStart:
    """Starts something at once or, as long as that raises, again and again until `stop`.

    Args:
        start: what may raise; never called again once it has not.
        what: its name in the log, a plural.
        pauses_s: before the second try, the third, ...; the last one from then on. In seconds.
    """

    def __init__(self, start: Callable[[], None], what: str, pauses_s: Sequence[float]) -> None:
        self._start = start
        self._what = what
        self._pauses_s = pauses_s
        self._told = ""
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """The first try, here and now; the others on a thread."""
        if not self._tried():
            self._thread = threading.Thread(target=self._go_on, name="deferred-delete-start", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """No try begins from here on; False where one was still under way after that time."""
        self._stopping.set()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _go_on(self) -> None:
        tries = 0
        while not self._stopping.wait(self._pauses_s[min(tries, len(self._pauses_s) - 1)]):
            if self._tried():
                logger.warning("%s have started", self._what)
                return
            tries += 1

    def _tried(self) -> bool:
        try:
            self._start()
        except Exception as error:  # noqa: BLE001 - tried again
            reason = one_line(error)
            if reason != self._told:  # not each time: it may be tried for days
                logger.error("%s did not start: %s: tried again until they do", self._what, reason)  # noqa: TRY400
            self._told = reason
            return False
        return True
