"""What stands out in a log, in words, and what to change.

The thresholds are those of a server with nothing to do but ingest on an SSD: what is far above them is worth a look.
"""

from . import findings_network, findings_server
from .account import Account
from .finding import Finding


def findings_of(account: Account) -> list[Finding]:
    """Return what stands out, problems first."""
    found = [finding for look in (*findings_network.LOOKS, *findings_server.LOOKS) for finding in look(account)]
    return sorted(found, key=lambda finding: finding.kind != "problem")
