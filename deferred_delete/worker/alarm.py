"""What wakes the worker's thread while it sleeps."""

import enum
import threading


class WakeFor(enum.Enum):
    """Which new deletions wake the worker, where it is not "those due before a certain moment"."""

    EVERY = enum.auto()
    # It could do nothing about them now, and wakes by itself when it can.
    NONE = enum.auto()


class Alarm:
    """An event, and the rule that says which new deletions set it.

    Attributes:
        wake_for: A WakeFor, or a time in ms since 1970: then deletions that are due before it.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.wake_for: WakeFor | int = WakeFor.EVERY

    def wakes_for(self, due_ms: int) -> bool:
        """Whether a deletion due at ``due_ms`` (ms since 1970) would be slept through otherwise."""
        rule = self.wake_for  # read once: the worker changes it meanwhile
        if isinstance(rule, WakeFor):
            return rule is WakeFor.EVERY
        return due_ms < rule

    def ring(self) -> None:
        """Wakes the worker."""
        if not self._event.is_set():
            self._event.set()

    def clear(self) -> None:
        """Forgets earlier rings. Called before the worker reads anything: later rings cut its sleep short."""
        self._event.clear()

    def wait(self, sleep_s: float) -> None:
        """Sleeps so many seconds, or until it rings."""
        self._event.wait(sleep_s)
