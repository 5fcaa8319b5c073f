"""DeferredDelete's routes that control the worker: pause, resume, drain, retry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from deferred_delete import DeferredDelete, Status

from .. import rest

_MAX_FAILURES = 1000


class FailedDeletion(msgspec.Struct, frozen=True, kw_only=True):
    """A deletion whose last attempt failed. Times are seconds since 1970."""

    attachment: str
    content_type: int
    enqueued_at: float
    attempts: int
    next_attempt_at: float
    error: str | None


def order_routes(deferred_delete: DeferredDelete) -> list[rest.Route]:
    """The routes for pause, resume, drain now and retry, and the list of failed deletions."""
    worker, ledger = deferred_delete.worker, deferred_delete.ledger

    def order(path: str, summary: str, action: Callable[[], Any]) -> rest.Route:
        def act(_: rest.Request) -> Status:
            action()
            return worker.status()

        return rest.json_route("POST", path, summary, act, Status)

    def failures(request: rest.Request) -> list[FailedDeletion]:
        return [
            FailedDeletion(
                attachment=row.attachment_uuid,
                content_type=row.content_type,
                enqueued_at=row.enqueued_at / 1000,
                attempts=row.attempts,
                next_attempt_at=row.next_attempt_at / 1000,
                error=row.last_error,
            )
            for row in ledger.failures(_limit(request))
        ]

    return [
        order("/deferred-delete/pause", "stop deleting, survives restarts", worker.pause),
        order("/deferred-delete/resume", "delete again", worker.resume),
        order("/deferred-delete/drain", "no grace for what waits now", worker.drain_now),
        order("/deferred-delete/retry", "try what failed again", worker.retry),
        rest.json_route(
            "GET",
            "/deferred-delete/failures",
            "deletions that failed, and why",
            failures,
            list[FailedDeletion],
            parameters=(rest.Parameter("query", "limit", {"type": "integer", "minimum": 1, "maximum": _MAX_FAILURES}),),
        ),
    ]


def _limit(request: rest.Request) -> int:
    text = request.arguments.get("limit", "100")
    if not text.isdecimal() or not 1 <= int(text) <= _MAX_FAILURES:
        raise rest.RefusedError(400, f"limit: {text[:20]!r}: expected a number from 1 to {_MAX_FAILURES}")
    return int(text)
