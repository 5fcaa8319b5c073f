"""What the recorder reports, ready for JSON.

Durations are in milliseconds, sizes in bytes, times of day in seconds since 1970.
"""

from collections.abc import Iterable, Mapping

import msgspec

from .histograms import Summary
from .stages import NAMES, TOTAL


class StageSnapshot(msgspec.Struct, frozen=True):
    """One stage of one protocol, or one step of a stage. `share` is its part of the time of all stages, 0 to 1.

    `rate_per_s` is count by the seconds of the span; `steps` add up to the stage, for the instances whose steps are
    known.
    """

    stage: str
    count: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    max_ms: float
    mean_ms: float
    share: float
    rate_per_s: float = 0.0
    steps: "list[StageSnapshot]" = []


class ClientSnapshot(msgspec.Struct, frozen=True):
    """One client: a calling AE title over C-STORE, an address over HTTP; "(other)" is all beyond MaxClients."""

    client: str
    instances: int
    rate_per_s: float
    stages: list[StageSnapshot]


class WindowProtocol(msgspec.Struct, frozen=True):
    """What was stored in one window over one protocol."""

    protocol: str
    instances: int
    rate_per_s: float
    stages: list[StageSnapshot]
    clients: list[ClientSnapshot]


class WindowSnapshot(msgspec.Struct, frozen=True):
    """The last `minutes`, in fact `seconds` long: up to a twelfth longer, and shorter just after a start."""

    minutes: int
    seconds: float
    protocols: list[WindowProtocol]


class ProtocolSnapshot(msgspec.Struct, frozen=True):
    """What came in over one protocol.

    `bytes` counts stored instances as received, `written_bytes` what the storage area wrote for them. `duplicates` came
    although the archive had them, and were not stored again; only a storage area of ours can tell.
    """

    protocol: str
    instances: int
    bytes: int
    written_bytes: int
    duplicates: int
    unfinished: int
    failed_writes: int
    stages: list[StageSnapshot]
    clients: list[ClientSnapshot] = []


class Snapshot(msgspec.Struct, frozen=True):
    """Everything recorded since `since`."""

    since: float
    seconds: float
    in_flight: int
    stray_writes: int
    out_of_order: int
    clamped: int
    protocols: list[ProtocolSnapshot]
    windows: list[WindowSnapshot] = []


class SlowInstance(msgspec.Struct, frozen=True):
    """One of the slowest recent instances. A stage that is not in `stages` is unknown for this instance.

    `work_ms`, by which they are ranked, is the total without `response` and `wait`: an association may sit idle for
    minutes.
    """

    finished_at: float
    protocol: str
    orthanc_id: str
    size_bytes: int
    outcome: str
    total_ms: float
    work_ms: float
    stages: dict[str, float]
    client: str = ""
    steps: dict[str, float] = {}


def stage_snapshots(summaries: Mapping[str, Summary], seconds: float = 0.0) -> list[StageSnapshot]:
    """Return the stages that occurred in `seconds`, in order, each with its steps and its share of the total."""
    whole_ns = summaries[TOTAL].sum_ns if TOTAL in summaries else 0
    rows = [(name, stage_snapshot(name, summaries[name], whole_ns, seconds)) for name in ordered(summaries)]
    return [
        msgspec.structs.replace(row, steps=[step for owned, step in rows if owned.startswith(f"{name}.")])
        for name, row in rows
        if "." not in name
    ]


def ordered(names: Iterable[str]) -> list[str]:
    """Return `names` in the order in which the stages happen."""
    return sorted(names, key=NAMES.index)


def stage_snapshot(name: str, summary: Summary, whole_ns: int, seconds: float = 0.0) -> StageSnapshot:
    """Return one summary in milliseconds.

    `whole_ns` is the sum that the share is taken of, `seconds` the time that the summary covers.
    """
    return StageSnapshot(
        stage=name.rpartition(".")[2],
        count=summary.count,
        p50_ms=summary.p50_us / 1e3,
        p90_ms=summary.p90_us / 1e3,
        p99_ms=summary.p99_us / 1e3,
        max_ms=summary.max_ns / 1e6,
        mean_ms=summary.sum_ns / summary.count / 1e6 if summary.count else 0.0,
        share=summary.sum_ns / whole_ns if whole_ns else 0.0,
        rate_per_s=summary.count / seconds if seconds else 0.0,
    )
