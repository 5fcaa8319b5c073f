"""A descriptor by which other threads wake one that sleeps in epoll."""

from __future__ import annotations

import contextlib
import os
import threading


class Wakeup:
    """An eventfd; `wake` may be called from any thread, also after `close`.

    Raises:
        OSError: no descriptors left.
    """

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._lock = threading.Lock()
        self._closed = False

    def wake(self) -> None:
        """Makes the descriptor readable."""
        # Under the lock: a number closed meanwhile could be DCMTK's by now, and these eight bytes would reach a peer.
        with self._lock:
            if not self._closed:
                with contextlib.suppress(BlockingIOError):  # the counter is full: it is readable already
                    os.eventfd_write(self.fd, 1)

    def drain(self) -> None:
        """Makes the descriptor unreadable again."""
        os.eventfd_read(self.fd)

    def close(self) -> None:
        """Closes the descriptor."""
        with self._lock:
            self._closed = True
            os.close(self.fd)
