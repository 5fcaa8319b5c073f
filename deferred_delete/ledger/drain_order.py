"""The order "drain now": an operator wants everything that waits deleted at once."""

from typing import Final

from . import queries
from .database import Database, encode

_ROWS_AT_ONCE: Final = 500


class DrainOrder:
    """Makes all rows due that are pending when the order is given.

    They wait neither for their grace period nor for the schedule. The order is kept in the ledger over a restart.

    Rows are made due a slice at a time, as the worker gets to them: one statement over ten million rows would keep
    removals waiting. Rows that failed are left alone: without their back-off they would be tried in a busy loop.
    Every method raises LedgerError.

    Args:
        database: The ledger's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._until_id = int(database.query(queries.READ_FACT, "drain_until")[0][0])

    @property
    def active(self) -> bool:
        """Whether an order is not finished yet. Costs no query."""
        return self._until_id > 0

    def give(self) -> None:
        """Orders all rows that are in the ledger now."""
        self._set(int(self._database.query(queries.NEWEST_PENDING_ID)[0][0]))

    def hasten(self, now_ms: int) -> bool:
        """Makes some of the ordered rows due. Ends the order when none of them is pending.

        Returns:
            Whether a row became due.
        """
        rows = self._database.query(queries.ORDERED_NOT_DUE, now_ms, self._until_id, _ROWS_AT_ONCE)
        if rows:
            ids = encode([row[0] for row in rows])
            return self._database.write("hasten deletions in", queries.MAKE_DUE, now_ms, ids) > 0
        if not self._database.query(queries.ORDERED_LEFT, self._until_id):
            self._set(0)
        return False

    def _set(self, until_id: int) -> None:
        self._database.write("order a drain in", queries.WRITE_FACTS, encode({"drain_until": str(until_id)}))
        self._until_id = until_id
