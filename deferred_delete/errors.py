"""The exceptions of this package.

DeferredDeleteError
├── StorageError        a file could not be written, read or unlinked (carries ``errno``)
├── TakeoverError       the C++ plugin's database could not be taken over
├── JournalError        the intake journal took no record, or has no next segment
└── LedgerError         a pending deletion could not be recorded or moved on
    ├── LedgerRefusedError   at open: not a ledger, corrupt, from the future, or owned by somebody else
    ├── LedgerBusyError      another process holds the ledger's write lock
    ├── LedgerClosedError    used before open or after close
    └── StateError      a transition asked of a row that is not in the state it starts from

Each message is one line: what happened, where, and what was expected.
"""


class DeferredDeleteError(Exception):
    """Root of every error this package raises on purpose."""


class StorageError(DeferredDeleteError):
    """An attachment's file could not be written, read or unlinked."""

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


class TakeoverError(DeferredDeleteError):
    """The database of the C++ DelayedDeletion plugin could not be taken over; it is left as it was."""


class JournalError(DeferredDeleteError):
    """The intake journal could not take a record, or its next segment could not be made."""


class LedgerError(DeferredDeleteError):
    """The ledger could not record or change a pending deletion; nothing was changed."""


class LedgerRefusedError(LedgerError):
    """The file is not a ledger this version may open; it is left exactly as it was."""


class LedgerBusyError(LedgerError):
    """The ledger's write lock stayed taken for longer than the caller may wait."""


class LedgerClosedError(LedgerError):
    """The ledger is not open."""


class StateError(LedgerError):
    """A row was not in the state the transition starts from; the transition was rolled back."""
