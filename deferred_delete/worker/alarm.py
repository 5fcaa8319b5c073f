"""What wakes the worker's thread while it sleeps."""

import threading


class Alarm:
    """An event that new deletions set only while the worker would sleep through them.

    Attributes:
        wakes_for_deletions: Whether the worker would. Set by the worker, before it looks into the journal.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self.wakes_for_deletions = True

    def notify(self) -> None:
        """Tells of a new deletion. Cheap: Orthanc holds the lock of its index."""
        if self.wakes_for_deletions:
            self.wakes_for_deletions = False  # of a thousand deletions the first wakes the worker
            self._event.set()

    def ring(self) -> None:
        """Wakes the worker."""
        self._event.set()

    def clear(self) -> None:
        """Forgets earlier rings. Called before the worker reads anything: later rings cut its sleep short."""
        self._event.clear()

    def wait(self, sleep_s: float) -> None:
        """Sleeps so many seconds, or until it rings."""
        self._event.wait(sleep_s)
