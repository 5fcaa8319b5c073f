"""The rows that the ledger returns and takes: claims, failures, counts."""

from typing import Final, NamedTuple

# An error is cut to this length when it is recorded.
MAX_REASON_CHARS: Final = 500


class Claim(NamedTuple):
    """A row that the worker has claimed."""

    pending_id: int
    attachment_uuid: str
    content_type: int
    attempts: int
    next_attempt_at: int


class Counts(NamedTuple):
    """Rows by state."""

    pending: int
    claimed: int
    failed: int

    @property
    def total(self) -> int:
        """All the rows."""
        return self.pending + self.claimed + self.failed


class Failure(NamedTuple):
    """An attempt that failed: the row, one line why, and when to try again (ms since 1970)."""

    pending_id: int
    error: str
    next_attempt_at: int


class FailedRow(NamedTuple):
    """A row whose last attempt failed, as ``queries.LIST_FAILED`` gives it; times in ms since 1970."""

    pending_id: int
    attachment_uuid: str
    content_type: int
    enqueued_at: int
    state: str
    attempts: int
    next_attempt_at: int
    last_error: str | None
