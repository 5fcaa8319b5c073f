"""DeferredDelete's routes that control the worker: pause, resume, drain, retry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deferred_delete import DeferredDelete

from .. import rest

_MAX_FAILURES = 1000


def order_routes(deferred_delete: DeferredDelete) -> list[rest.Route]:
    """The routes for pause, resume, drain now and retry, and the list of failed deletions."""
    worker, ledger = deferred_delete.worker, deferred_delete.ledger

    def act(action: Callable[[], Any]) -> rest.Answer:
        action()
        return rest.json_answer(worker.status())

    def failures(request: rest.Request) -> rest.Answer:
        rows = ledger.failures(_limit(request))
        return rest.json_answer(
            [
                {
                    "attachment": row.attachment_uuid,
                    "content_type": row.content_type,
                    "enqueued_at": row.enqueued_at / 1000,
                    "attempts": row.attempts,
                    "next_attempt_at": row.next_attempt_at / 1000,
                    "error": row.last_error,
                }
                for row in rows
            ]
        )

    return [
        rest.Route("POST", "/deferred-delete/pause", "stop deleting, survives restarts", lambda _: act(worker.pause)),
        rest.Route("POST", "/deferred-delete/resume", "delete again", lambda _: act(worker.resume)),
        rest.Route("POST", "/deferred-delete/drain", "no grace for what waits now", lambda _: act(worker.drain_now)),
        rest.Route("POST", "/deferred-delete/retry", "try what failed again", lambda _: act(worker.retry)),
        rest.Route("GET", "/deferred-delete/failures", "deletions that failed, and why", failures),
    ]


def _limit(request: rest.Request) -> int:
    text = request.arguments.get("limit", "100")
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_FAILURES:
        raise rest.RefusedError(400, f"limit: {text[:20]!r}: expected a number from 1 to {_MAX_FAILURES}")
    return int(text)
