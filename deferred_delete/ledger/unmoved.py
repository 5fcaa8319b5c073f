"""What is in the journal of a ledger that is only read."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from ..journal.leftovers import Leftovers
from ..journal.record import Record
from . import queries
from .place import journal_folder


def unmoved(ledger: Path, facts: Mapping[str, str]) -> Iterator[Record]:
    """Yields the requests that are not in the ledger yet, also beside a running Orthanc.

    Args:
        ledger: Its path.
        facts: Its table of facts, read before. Ledgers of earlier versions have no journal.

    Raises:
        LedgerRefusedError: The journal is of a later version.
        JournalError: It cannot be read.
    """
    if queries.JOURNAL_IDENTITY in facts:
        leftovers = Leftovers(journal_folder(ledger), bytes.fromhex(facts[queries.JOURNAL_IDENTITY]))
        for records in leftovers.records(int(facts.get(queries.JOURNAL_POSITION, 0))):
            yield from records
