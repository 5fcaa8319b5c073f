"""Short ways to fill a ledger."""

from deferred_delete import Ledger


def enqueue(ledger: Ledger, attachment_uuid: str, content_type: int, grace_ms: int = 0) -> int:
    """Records one deletion; returns when it is due, in ms since 1970."""
    ledger.enqueue_many([(attachment_uuid, content_type)], grace_ms)
    return ledger.clock.now_ms() + grace_ms
