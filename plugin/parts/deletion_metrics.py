"""DeferredDelete's metrics: the ledger and its worker."""

from __future__ import annotations

from collections.abc import Iterable

from deferred_delete import Status
from timing import Metric

from .part import PREFIX, single


def deletion_metrics(status: Status) -> Iterable[Metric]:
    """The ledger and its worker."""
    states = {
        "pending": status.pending,
        "claimed": status.claimed,
        "failed": status.failed,
    }
    yield Metric(
        f"{PREFIX}deletions_pending",
        "Files that wait for their deletion, by state.",
        "gauge",
        [({"state": k}, v) for k, v in states.items()],
    )
    yield single(
        "deletions_in_journal",
        "Of the pending ones, those that are not in the ledger yet.",
        "gauge",
        status.in_journal,
    )
    yield single(
        "deletions_lost_total",
        "Deletions since start that had no room in the journal; an audit finds their files.",
        "counter",
        status.lost,
    )
    yield single(
        "deletion_oldest_age_seconds",
        "Age of the oldest pending deletion; 0 with none.",
        "gauge",
        status.oldest_age_s or 0,
    )
    yield single("deletion_paused", "1 while an operator has paused the worker.", "gauge", status.paused)
    yield single(
        "deletion_disk_pressure",
        "1 while less of the storage disk is free than MinimumFreeDiskPercent.",
        "gauge",
        status.disk_pressure,
    )
    if status.free_disk_bytes is not None:
        yield single("deletion_free_disk_bytes", "Room left on the storage disk.", "gauge", status.free_disk_bytes)
    yield Metric(
        f"{PREFIX}deletion_waiting",
        "1 for what keeps the worker from deleting.",
        "gauge",
        [({"reason": status.waiting_for}, 1.0)] if status.waiting_for else [],
    )
    yield single("deletions_total", "Files unlinked since start.", "counter", status.deleted_since_start)
    yield single(
        "deletion_missing_total",
        "Deletions completed since start whose file was gone already.",
        "counter",
        status.missing_since_start,
    )
    yield single(
        "deletion_failures_total",
        "Attempts to unlink since start that failed and will be made again.",
        "counter",
        status.failures_since_start,
    )
    yield single(
        "deletion_freed_bytes_total",
        "Bytes of the files unlinked since start.",
        "counter",
        status.freed_bytes_since_start,
    )
