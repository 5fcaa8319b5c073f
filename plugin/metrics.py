"""What the other cores count, in the words of the Prometheus exposition (base units, _total for counters)."""

from __future__ import annotations

from collections.abc import Iterable

from association import TunerStatus
from deferred_delete import Status as DeletionStatus
from timing import Metric
from transcoder import CounterRow

PREFIX = "orthanc_bundle_"


def deletion_metrics(status: DeletionStatus) -> Iterable[Metric]:
    """The ledger and its worker."""
    states = {
        "pending": status.pending,
        "claimed": status.claimed,
        "failed": status.failed,
        "unrecorded": status.unrecorded,
    }
    yield Metric(
        f"{PREFIX}deletions_pending",
        "Files that wait for their deletion, by state.",
        "gauge",
        [({"state": k}, v) for k, v in states.items()],
    )
    yield _one(
        "deletion_oldest_age_seconds",
        "Age of the oldest pending deletion; 0 with none.",
        "gauge",
        status.oldest_age_s or 0,
    )
    yield _one("deletion_paused", "1 while an operator has paused the worker.", "gauge", status.paused)
    yield _one("deletions_total", "Files unlinked since start.", "counter", status.deleted_since_start)
    yield _one(
        "deletion_missing_total",
        "Deletions completed since start whose file was gone already.",
        "counter",
        status.missing_since_start,
    )
    yield _one(
        "deletion_failures_total",
        "Attempts to unlink since start that failed and will be made again.",
        "counter",
        status.failures_since_start,
    )
    yield _one(
        "deletion_freed_bytes_total",
        "Bytes of the files unlinked since start.",
        "counter",
        status.freed_bytes_since_start,
    )


def transcoder_metrics(rows: Iterable[CounterRow]) -> Iterable[Metric]:
    """Outcomes by rule and reason."""
    labelled = [({"rule": row.rule, "outcome": str(row.reason)}, row) for row in rows]
    yield Metric(
        f"{PREFIX}transcoded_instances_total",
        "Instances looked at, by rule and outcome.",
        "counter",
        [(k, row.count) for k, row in labelled],
    )
    yield Metric(
        f"{PREFIX}transcoder_bytes_in_total",
        "Bytes received, by rule and outcome.",
        "counter",
        [(k, row.bytes_in) for k, row in labelled],
    )
    yield Metric(
        f"{PREFIX}transcoder_bytes_out_total",
        "Bytes to be stored, by rule and outcome.",
        "counter",
        [(k, row.bytes_out) for k, row in labelled],
    )
    yield Metric(
        f"{PREFIX}transcoder_seconds_total",
        "Time spent, by rule and outcome.",
        "counter",
        [(k, row.total_ns / 1e9) for k, row in labelled],
    )


def association_metrics(status: TunerStatus) -> Iterable[Metric]:
    """The watcher of DICOM connections."""
    open_now = [
        ({"direction": "incoming"}, status.open_associations),
        ({"direction": "outgoing"}, status.open_outgoing),
    ]
    yield Metric(f"{PREFIX}associations_open", "DICOM connections that are watched now.", "gauge", open_now)
    yield _one("associations_watched", "1 while the watcher runs.", "gauge", status.running)
    yield _one("associations_seen_total", "DICOM connections watched since start.", "counter", status.associations_seen)
    yield _one(
        "associations_acks_forced_total",
        "Acknowledgements that would have waited up to 40 ms.",
        "counter",
        status.acks_forced,
    )
    yield _one("associations_wake_ups_total", "Times the watcher woke up.", "counter", status.wake_ups)
    yield _one("associations_cpu_seconds_total", "CPU time of the watcher.", "counter", status.cpu_seconds)


def _one(name: str, text: str, kind: str, value: float) -> Metric:
    return Metric(f"{PREFIX}{name}", text, kind, [({}, float(value))])  # type: ignore[arg-type]
