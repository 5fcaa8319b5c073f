"""What the recorder reports, ready for JSON. Durations are in milliseconds, sizes in bytes, times of day in seconds since 1970."""

from collections.abc import Iterable

import msgspec

from .histograms import Summary
from .stages import STAGE_NAMES, TOTAL


class StageSnapshot(msgspec.Struct, frozen=True):
    """One stage of one protocol. `share` is its part of the time of all stages, 0 to 1."""

    stage: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    share: float


class ProtocolSnapshot(msgspec.Struct, frozen=True):
    """What came in over one protocol.

    `bytes` counts stored instances as received, `written_bytes` what the storage area wrote for them. `duplicates` came although
    the archive had them, and were not stored again; only a storage area of ours can tell.
    """

    protocol: str
    instances: int
    bytes: int
    written_bytes: int
    duplicates: int
    unfinished: int
    failed_writes: int
    stages: list[StageSnapshot]


class Snapshot(msgspec.Struct, frozen=True):
    """Everything recorded since `since`."""

    since: float
    seconds: float
    in_flight: int
    stray_writes: int
    out_of_order: int
    clamped: int
    protocols: list[ProtocolSnapshot]


class SlowInstance(msgspec.Struct, frozen=True):
    """One of the slowest recent instances. A stage that is not in `stages` is unknown for this instance.

    `work_ms`, by which they are ranked, is the total without waiting for the SCU: an association may sit idle for minutes.
    """

    finished_at: float
    protocol: str
    orthanc_id: str
    size_bytes: int
    outcome: str
    total_ms: float
    work_ms: float
    stages: dict[str, float]


def stage_snapshots(summaries: dict[str, Summary]) -> list[StageSnapshot]:
    """Return the stages that occurred, in their order, each with its share of the total's sum."""
    whole_ns = summaries[TOTAL].sum_ns if TOTAL in summaries else 0
    return [stage_snapshot(name, summaries[name], whole_ns) for name in ordered(summaries)]


def ordered(names: Iterable[str]) -> list[str]:
    """Return `names` in the order in which the stages happen."""
    return sorted(names, key=STAGE_NAMES.index)


def stage_snapshot(name: str, summary: Summary, whole_ns: int) -> StageSnapshot:
    """Return one summary in milliseconds; `whole_ns` is the sum that shares are taken of."""
    return StageSnapshot(
        stage=name,
        count=summary.count,
        p50_ms=summary.p50_us / 1e3,
        p90_ms=summary.p90_us / 1e3,
        p99_ms=summary.p99_us / 1e3,
        max_ms=summary.max_ns / 1e6,
        mean_ms=summary.sum_ns / summary.count / 1e6 if summary.count else 0.0,
        share=summary.sum_ns / whole_ns if whole_ns else 0.0,
    )
