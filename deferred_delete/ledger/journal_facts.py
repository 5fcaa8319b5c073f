"""What a ledger knows of its intake journal."""

import secrets

from . import queries
from .database import Database


def identity(database: Database) -> bytes:
    """The ledger's identity, 16 random bytes, made for a ledger that has none. Raises LedgerError."""
    rows = database.query(queries.READ_FACT, queries.JOURNAL_IDENTITY)
    if not rows:
        database.write("mark", queries.PUT_FACT, queries.JOURNAL_IDENTITY, secrets.token_hex(16))
        database.sync()  # segments are synced; with an identity that a power cut forgot they would be another's
        return identity(database)
    return bytes.fromhex(rows[0][0])


def position(database: Database) -> int:
    """The sequence number before which all of the journal is in the ledger. Raises LedgerError."""
    rows = database.query(queries.READ_FACT, queries.JOURNAL_POSITION)
    return int(rows[0][0]) if rows else 0
