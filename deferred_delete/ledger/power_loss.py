"""After a power cut: which rows may belong to live attachments, and when that is settled.

Orthanc commits the removal of an attachment to its index, then asks us to remove the file. Its index (SQLite, WAL,
synchronous = NORMAL) is synced at checkpoints only. After a power cut our row may be on the disk where that commit is
not: Orthanc then knows the attachment again, and draining the row would destroy a live file. A SIGKILL can not do this,
only the machine going down can. So rows recorded shortly before that are suspects, across restarts, until the
caller has asked the index and called ``trust``.
"""

from collections.abc import Iterator
from typing import Final

from . import queries
from .database import Database, encode
from .ownership import boot_id

# Orthanc checkpoints after 1000 pages, and Linux writes dirty pages back after about half a minute: what is older than
# this when the machine goes down is on the disk on both sides.
SUSPECT_WINDOW_MS: Final = 120_000


def ended_badly(clean: str, its_boot_id: str) -> bool:
    """Whether the run that left these facts may have left files unwritten.

    It did not close the ledger, or the machine was started since.
    """
    return clean == "0" or its_boot_id != boot_id()


class PowerLoss:
    """Records in the ledger which rows are in doubt.

    Args:
        database: The ledger's.

    Attributes:
        unclean: Whether files may be unwritten: the last run did not close the ledger, or the machine was started
            since. True for a new ledger too.
    """

    unclean = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_start(self, newest_id: int, newest_at_ms: int) -> None:
        """Marks the ledger as open; if the machine went down while it was open before, the newest rows become suspects.

        A second power cut before ``trust`` adds rows.
        """
        before, here = self._fact("boot_id"), boot_id()
        self.unclean = ended_badly(self._fact("clean"), before)
        went_down = self._fact("clean") == "0" and before != here
        since_ms, until_id = self._suspect_range()
        if went_down and newest_id:
            since_ms = min(since_ms or newest_at_ms, newest_at_ms - SUSPECT_WINDOW_MS)
            until_id = newest_id
        self._write(clean="0", boot_id=here, suspect_since=str(since_ms), suspect_until=str(until_id))

    def note_leftovers(self) -> None:
        """Marks the ledger as not closed: there are deletions from after that. Orthanc closes its index even later."""
        self._write(clean="0")

    @property
    def headers_missing(self) -> bool:
        """Whether header copies are missing because the disk refused them; they may be older than the newest ones."""
        # Ledgers of earlier versions have no such row.
        found = self._database.query(queries.READ_FACT, "headers_missing")
        return bool(found) and found[0][0] == "1"

    def note_headers_missing(self, *, missing: bool) -> None:
        """Records whether header copies are missing. Raises LedgerError."""
        self._database.write("mark", queries.PUT_FACT, "headers_missing", str(int(missing)))

    @property
    def suspected(self) -> bool:
        """Whether rows are in doubt."""
        return self._suspect_range()[1] > 0

    def suspects(self, batch: int = 500) -> Iterator[list[str]]:
        """Yields the attachments in doubt in batches, newest first.

        The caller asks Orthanc's index about each and withdraws the live ones.
        """
        since_ms, until_id = self._suspect_range()
        before_id = until_id + 1
        while rows := self._database.query(queries.NEWEST_FIRST, before_id, batch):
            recent = [attachment_uuid for _, attachment_uuid, enqueued_at in rows if enqueued_at >= since_ms]
            if recent:
                yield recent
            if len(recent) < len(rows):
                return
            before_id = rows[-1][0]

    def trust(self) -> None:
        """Ends the doubt: all rows that are still in the ledger may be deleted."""
        self._write(suspect_since="0", suspect_until="0")

    def _suspect_range(self) -> tuple[int, int]:
        return int(self._fact("suspect_since")), int(self._fact("suspect_until"))

    def _fact(self, name: str) -> str:
        return str(self._database.query(queries.READ_FACT, name)[0][0])

    def _write(self, **facts: str) -> None:
        self._database.write("mark", queries.WRITE_FACTS, encode(facts))
