"""What an operator orders of the drain: everything that waits now, or another try for what failed."""

from typing import Final

from . import queries
from .database import Database, encode

_SLICE: Final = 500


class DrainOrder:
    """Drain now: what is pending at the order goes without waiting for its grace period or for the schedule. Kept in the ledger.

    Rows are made due a slice at a time, as the worker gets to them: one statement over ten million rows would keep
    removals waiting. Rows that failed are not concerned; their back-off would otherwise become a busy loop. Every
    method raises LedgerError.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._until_id = int(database.query(queries.READ_FACT, "drain_until")[0][0])

    @property
    def active(self) -> bool:
        """Whether an order is not fulfilled yet. Costs nothing."""
        return self._until_id > 0

    def give(self) -> None:
        """Orders all rows that are there now."""
        self._set(int(self._database.query(queries.NEWEST_PENDING_ID)[0][0]))

    def hasten(self, now_ms: int) -> bool:
        """Makes a slice of what was ordered due; ends the order when nothing of it is pending.

        Returns:
            Whether something is due that was not.
        """
        rows = self._database.query(queries.ORDERED_NOT_DUE, now_ms, self._until_id, _SLICE)
        if rows:
            ids = encode([row[0] for row in rows])
            return self._database.write("hasten deletions in", queries.MAKE_DUE, now_ms, ids) > 0
        if not self._database.query(queries.ORDERED_LEFT, self._until_id):
            self._set(0)
        return False

    def _set(self, until_id: int) -> None:
        self._database.write("order a drain in", queries.WRITE_FACTS, encode({"drain_until": str(until_id)}))
        self._until_id = until_id
