"""What a power cut may have left in doubt, and how the doubt is settled.

Orthanc commits the removal of an attachment to its index, then asks us to remove the file. Its index (SQLite, WAL,
synchronous = NORMAL) is synced at checkpoints only. After a power cut our row may be on the disk where that commit is
not: Orthanc then knows the attachment again, and draining the row would destroy a live file. A SIGKILL can not do this,
only the machine going down can. So rows recorded shortly before that are suspects, across restarts, until somebody has
asked the index and called ``trust``.
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
    """Keeps the doubt, in the ledger itself.

    Args:
        database: The ledger's.

    Attributes:
        unclean: Whether the ledger was not closed when it was open last, by whatever end, or the machine was started
            since, and what was not synced may be gone; also of a ledger that is new.
    """

    unclean = False

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_start(self, newest_id: int, newest_at_ms: int) -> None:
        """Marks the ledger as open; if the machine went down while it was open before, the newest rows become suspects.

        A second power cut before ``trust`` widens the doubt.
        """
        before, here = self._fact("boot_id"), boot_id()
        self.unclean = ended_badly(self._fact("clean"), before)
        went_down = self._fact("clean") == "0" and before != here
        since_ms, until_id = self._range()
        if went_down and newest_id:
            since_ms = min(since_ms or newest_at_ms, newest_at_ms - SUSPECT_WINDOW_MS)
            until_id = newest_id
        self._write(clean="0", boot_id=here, suspect_since=str(since_ms), suspect_until=str(until_id))

    @property
    def headers_missing(self) -> bool:
        """Whether header copies were left unwritten, by a disk that refused them, that no search of the newest ones need find."""
        found = self._database.query(
            queries.READ_FACT, "headers_missing"
        )  # ledgers made before this fact was kept have no row
        return bool(found) and found[0][0] == "1"

    def note_headers_missing(self, *, missing: bool) -> None:
        """Remembers it over any end of the process. Raises LedgerError."""
        self._database.write("mark", queries.PUT_FACT, "headers_missing", str(int(missing)))

    @property
    def suspected(self) -> bool:
        """Whether there is a doubt to settle."""
        return self._range()[1] > 0

    def suspects(self, batch: int = 500) -> Iterator[list[str]]:
        """The attachments in doubt, newest first, in batches: ask Orthanc's index about each, and withdraw the live ones."""
        since_ms, until_id = self._range()
        before_id = until_id + 1
        while rows := self._database.query(queries.NEWEST_FIRST, before_id, batch):
            recent = [attachment_uuid for _, attachment_uuid, enqueued_at in rows if enqueued_at >= since_ms]
            if recent:
                yield recent
            if len(recent) < len(rows):
                return
            before_id = rows[-1][0]

    def trust(self) -> None:
        """Settles the doubt: what is still in the ledger may go."""
        self._write(suspect_since="0", suspect_until="0")

    def _range(self) -> tuple[int, int]:
        return int(self._fact("suspect_since")), int(self._fact("suspect_until"))

    def _fact(self, name: str) -> str:
        return str(self._database.query(queries.READ_FACT, name)[0][0])

    def _write(self, **facts: str) -> None:
        self._database.write("mark", queries.WRITE_FACTS, encode(facts))
