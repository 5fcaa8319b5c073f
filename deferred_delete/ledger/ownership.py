"""The lock that lets one process at a time open a ledger, and the kernel's boot id."""

import fcntl
import os
from pathlib import Path
from typing import Final

from ..errors import LedgerRefusedError

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class OwnerLock:
    """An flock on ``<ledger>.lock``, held as long as the ledger is open.

    flock, not fcntl's record locks: those belong to the process, so a second ledger in the same process would pass, and
    closing any descriptor of the file would let go. The kernel drops the lock when its holder dies, so a lock file left
    by a crash is never stale; for the same reason it is never deleted, as deleting it would let two processes each hold
    "the" lock.

    Args:
        ledger_path: The ledger; the lock's file stands beside it.

    Raises:
        LedgerRefusedError: Another process has the ledger open, or the lock file cannot be made.
    """

    def __init__(self, ledger_path: Path) -> None:
        self.path = ledger_path.with_name(ledger_path.name + ".lock")
        try:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise LedgerRefusedError(
                f"cannot make the lock {self.path}: {error.strerror}; expected a folder Orthanc may write"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._descriptor, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise LedgerRefusedError(
                f"the ledger {ledger_path} is in use by process {holder}: expected one Orthanc for each ledger"
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Releases the lock. Harmless when released already."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def boot_id() -> str:
    """The kernel's boot id, a new one at each boot; empty if it cannot be read."""
    try:
        return _BOOT_ID.read_text("ascii").strip()
    except OSError:
        return ""
