"""Deletions that could be neither recorded nor done, kept in memory until they can be."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

# 37 bytes of UUID and about 200 of Python each: 25 MB at most.
CAPACITY: Final = 100_000
# Refusals after which a round of retries ends.
_MAX_REFUSALS: Final = 16


class Backlog:
    """Bounded, in memory, lost with the process.

    The UUID of a deletion that does not fit is logged; its file is then an orphan for an audit to find.

    Args:
        capacity: How many deletions are kept.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, int] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, attachment_uuid: str, content_type: int) -> bool:
        """Keeps a deletion; False if there is no room."""
        with self._lock:
            if attachment_uuid not in self._waiting and len(self._waiting) >= self._capacity:
                return False
            self._waiting[attachment_uuid] = content_type
            return True

    def retry(self, settle: Callable[[str, int], bool]) -> int:
        """Hands each deletion to ``settle``, oldest first, until it has refused some; returns how many were settled.

        What was refused goes to the end of the queue, so that one bad file does not hold up the others. A deletion
        leaves the backlog after it was settled, not before; ``settle`` runs outside the lock.
        """
        settled = refused = 0
        for _ in range(len(self)):
            with self._lock:
                attachment_uuid, content_type = next(iter(self._waiting.items()))
            done = settle(attachment_uuid, content_type)
            with self._lock:
                if done:
                    del self._waiting[attachment_uuid]
                else:
                    self._waiting.move_to_end(attachment_uuid)
            settled, refused = settled + done, refused + (not done)
            if refused >= _MAX_REFUSALS:
                break
        return settled
