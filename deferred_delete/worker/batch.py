"""The files of one batch, unlinked one after the other or several at once."""

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final

from ..ledger.rows import Claim, Failure
from ..storage.storage import Deleted

# How long unlinks under way are waited for once the worker is to stop: its own stop has to be done within a second.
_PATIENCE_S: Final = 0.5
_LOOK_S: Final = 0.05

Unlink = Callable[[Claim], Deleted | Failure]


class Batch:
    """How far a batch has come.

    Args:
        claims: Its rows.
        unlink: Unlinks one file; never raises.
        after: What to do after each file that went: its bytes, and the seconds it took.
        halted: Asked between two files; True leaves the rest.

    Attributes:
        abandoned: Whether unlinks were still under way at the end: their rows stay claimed until a recovery, and are
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
        self._under_way: set[int] = set()

    @property
    def released(self) -> list[int]:
        """Rows that were not tried."""
        return list(self._waiting)

    def run(self, workers: int) -> None:
        """Unlinks until all is done, or halted. Returns within a moment of that also while a disk hangs, if there are several workers."""
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
            self.abandoned = bool(self._under_way)
            self._under_way.clear()

    def _wait_for(self, threads: Iterable[threading.Thread]) -> None:
        give_up = float("inf")
        for thread in threads:
            while thread.is_alive():
                thread.join(_LOOK_S)
                if self._halted():
                    give_up = min(give_up, time.monotonic() + _PATIENCE_S)
                if time.monotonic() >= give_up:
                    return

    def _work(self) -> None:
        while not self._halted():
            with self._lock:
                if not self._waiting:
                    return
                claim = self._waiting.pop(next(iter(self._waiting)))
                self._under_way.add(claim.pending_id)
            began = time.monotonic()
            result = self._unlink(claim)
            with self._lock:
                if claim.pending_id not in self._under_way:  # too late: settled without this row, which is done again
                    return
                self._under_way.remove(claim.pending_id)
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
