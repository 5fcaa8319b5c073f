"""Where the ledger is when nobody says where."""

from pathlib import Path
from typing import Final

from ..errors import LedgerRefusedError

LEDGER_NAME: Final = "deferred-deletions.db"


def ledger_place(new: Path, *earlier: Path) -> Path:
    """The ledger that is there already, or `new` where there is none.

    Which of two is the right one nobody can tell from outside: a downgrade leaves deletions in the first, a copy has
    them twice, one from a backup those that were withdrawn since. So that none is forgotten, and no live file goes, the
    operator has to say.

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
            f"two ledgers, {found[0]} and {found[1]}: expected one: name the one that is in use (DeferredDelete.Path, or --ledger), "
            "or finish the other with 'deferred_delete drain' and move it away"
        )
    return found[0] if found else new
