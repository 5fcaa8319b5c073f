"""Finds the ledger when no path is configured."""

from pathlib import Path
from typing import Final

from ..errors import LedgerRefusedError

LEDGER_NAME: Final = "deferred-deletions.db"


def ledger_place(new: Path, *earlier: Path) -> Path:
    """Returns the ledger that exists already, or `new` if there is none.

    Of two ledgers we cannot tell which is right. A downgrade leaves deletions in the first. A copy has them twice. A
    backup still has those that were withdrawn since. A wrong guess would forget deletions or delete live files, so the
    operator has to choose.

    Args:
        new: Where a new ledger is made.
        earlier: Where it may be from earlier versions or another configuration.

    Raises:
        LedgerRefusedError: There are two.
    """
    found: list[Path] = []
    for place in (new, *earlier):
        if place.exists() and not any(place.samefile(other) for other in found):
            found.append(place)
    if len(found) > 1:
        raise LedgerRefusedError(
            f"two ledgers, {found[0]} and {found[1]}: expected one: name the one that is in use "
            "(DeferredDelete.Path, or --ledger), or finish the other with 'deferred_delete drain' and move it away"
        )
    return found[0] if found else new


def journal_folder(ledger: Path) -> Path:
    """The folder of the intake journal that belongs to a ledger."""
    return ledger.with_name(f"{ledger.name}.intake")
