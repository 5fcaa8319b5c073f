"""The files of one batch, unlinked one after the other or several at once."""

import math
import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..ledger.rows import Claim, Failure
from ..storage.storage import Deleted

# How long a halt waits for unlinks in progress: the stop of the worker has to be done within a second.
_MAX_HALT_WAIT_S: Final = 0.5
_POLL_S: Final = 0.05

Unlink = Callable[[Claim], Deleted | Failure]


class Batch:
    """Unlinks the files of one batch and sorts its rows by result.

    Args:
        claims: Its rows.
        unlink: Unlinks one file; never raises.
        after: Called after each deleted file with its bytes and the seconds it took.
        halted: Called between two files; True leaves the rest.

    Attributes:
        abandoned: Whether unlinks were still in progress at the end: their rows stay claimed until a recovery, and are
            then done again.
    """

    def __init__(
        self,
        claims: list[Claim],
        unlink: Unlink,
        after: Callable[[int, float], None],
        halted: Callable[[], bool],
    ) -> None:
        self.completed: list[int] = []
        self.failed: list[Failure] = []
        self.deleted = 0
        self.freed_bytes = 0
        self.abandoned = False
        self._unlink = unlink
        self._after = after
        self._halted = halted
        self._lock = threading.Lock()
        self._waiting = {claim.pending_id: claim for claim in claims}
        self._in_progress: set[int] = set()

    @property
    def released(self) -> list[int]:
        """Rows that were not tried."""
        return list(self._waiting)

    def run(self, workers: int) -> None:
        """Unlinks until all is done, or halted.

        With several workers it returns soon after a halt, even if the disk hangs.
        """
        if workers == 1:
            self._work()
            return
        # Daemons, made for each batch: a hung one must not keep the process from ending, and between batches there are
        # none.
        threads = [
            threading.Thread(target=self._work, name=f"unlink {number}", daemon=True)
            for number in range(min(workers, len(self._waiting)))
        ]
        for thread in threads:
            thread.start()
        self._wait_for(threads)
        with self._lock:
            self.abandoned = bool(self._in_progress)
            self._in_progress.clear()

    def _wait_for(self, threads: Iterable[threading.Thread]) -> None:
        give_up = math.inf
        for thread in threads:
            while thread.is_alive():
                thread.join(_POLL_S)
                if self._halted():
                    give_up = min(give_up, time.monotonic() + _MAX_HALT_WAIT_S)
                if time.monotonic() >= give_up:
                    return

    def _work(self) -> None:
        while not self._halted():
            with self._lock:
                if not self._waiting:
                    return
                claim = self._waiting.pop(next(iter(self._waiting)))
                self._in_progress.add(claim.pending_id)
            began = time.monotonic()
            result = self._unlink(claim)
            with self._lock:
                if (
                    claim.pending_id not in self._in_progress
                ):  # too late: settled without this row, which is tried again
                    return
                self._in_progress.remove(claim.pending_id)
                self._note(claim, result)
            if isinstance(result, Deleted):
                self._after(result.size_bytes, time.monotonic() - began)

    def _note(self, claim: Claim, result: Deleted | Failure) -> None:
        if isinstance(result, Failure):
            self.failed.append(result)
            return
        self.completed.append(claim.pending_id)
        self.deleted += result.existed
        self.freed_bytes += result.size_bytes
