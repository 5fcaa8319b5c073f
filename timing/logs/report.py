"""What a log tells, ready for JSON. Durations are in milliseconds."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Final

import msgspec

from .. import stages
from ..snapshot import StageSnapshot, ordered, stage_snapshot
from .account import ANSWER, GAP, MAX_GAP_US, NEW_INSTANCE, OTHER_CHANGE, Account
from .finding import Finding
from .findings import findings_of
from .findings_network import STALL_HIGH_US, STALL_LOW_US
from .instance import LoggedInstance
from .lines import DAY_US
from .studies import Run, Shown

PROTOCOLS = (stages.HTTP, stages.CSTORE)
GAP_BOUNDS_US: Final = (
    *(1_000, 2_000, 5_000, 10_000, 20_000, STALL_LOW_US, STALL_HIGH_US),
    *(100_000, 200_000, 500_000, 1_000_000),
)
"""The gap histogram's bounds; one bin is that of the stalls."""


class GapBin(msgspec.Struct, frozen=True):
    """How many gaps between two instances of one client lasted from `low_ms` to `high_ms`."""

    low_ms: float
    high_ms: float
    count: int


class LoggedProtocol(msgspec.Struct, frozen=True):
    """What came in over one protocol.

    `stages` holds only instances whose lines are certain; `overlapped` ones are not among them. `beside` holds what is
    no
    stage: the gap to the instance before of the same client, the HTTP answer, the lines of changes.
    """

    protocol: str
    instances: int
    overlapped: int
    unfinished: int
    duplicates: int
    stages: list[StageSnapshot]
    beside: list[StageSnapshot]
    gaps: list[GapBin]


class SlowLogged(msgspec.Struct, frozen=True):
    """One of the slowest instances; `at` is when it began, as the log writes it."""

    at: str
    protocol: str
    orthanc_id: str
    client: str
    total_ms: float
    stages: dict[str, float]


class ShownInstance(msgspec.Struct, frozen=True):
    """An instance of the study; `begin_ms` counts from the beginning of the study."""

    begin_ms: float
    protocol: str
    client: str
    orthanc_id: str
    total_ms: float
    stages: dict[str, float]


class LoggedStudy(msgspec.Struct, frozen=True):
    """The longest run of instances without a pause: of one study where the log names it (--trace), else of one client.

    `shown` holds the first of its `instances`, in the order in which they began.
    """

    orthanc_id: str
    at: str
    instances: int
    elapsed_ms: float
    shown: list[ShownInstance]


class LogReport(msgspec.Struct, frozen=True):
    """Everything a log tells. `counts` tells of its lines, the damaged ones among them."""

    counts: dict[str, int]
    protocols: list[LoggedProtocol]
    slowest: list[SlowLogged]
    study: LoggedStudy | None
    findings: list[Finding]


def report_of(account: Account, open_at_end: int = 0) -> LogReport:
    """Return what `account` adds up to, where so many instances had begun and not ended."""
    return LogReport(
        counts=dict(account.counts) | ({"open at the end": open_at_end} if open_at_end else {}),
        protocols=[_protocol(account, name) for name in PROTOCOLS if _occurs(account, name)],
        slowest=[_slow(instance, total) for total, _, instance, _ in sorted(account.slowest, reverse=True)],
        study=_study(account.studies.longest()),
        findings=findings_of(account),
    )


def _occurs(account: Account, protocol: str) -> bool:
    return bool(account.instances[protocol] or account.unfinished[protocol] or account.duplicates[protocol])


def _protocol(account: Account, protocol: str) -> LoggedProtocol:
    names = [name for owner, name in account.durations if owner == protocol]
    beside = [name for name in (GAP, ANSWER, NEW_INSTANCE, OTHER_CHANGE) if name in names]
    return LoggedProtocol(
        protocol=protocol,
        instances=account.instances[protocol],
        overlapped=account.overlapped[protocol],
        unfinished=account.unfinished[protocol],
        duplicates=account.duplicates[protocol],
        stages=_snapshots(account, protocol, ordered(name for name in names if name in stages.STAGE_NAMES)),
        beside=_snapshots(account, protocol, beside),
        gaps=_gaps(account, protocol),
    )


def _gaps(account: Account, protocol: str) -> list[GapBin]:
    counts = account.bins(protocol, GAP, GAP_BOUNDS_US)
    bounds_ms = [0.0, *(bound / 1e3 for bound in GAP_BOUNDS_US), MAX_GAP_US / 1e3]
    bins = [GapBin(low, high, count) for (low, high), count in zip(pairwise(bounds_ms), counts, strict=True)]
    return bins if any(counts) else []


def _study(run: Run | None) -> LoggedStudy | None:
    if run is None:
        return None
    shown = sorted(run.shown, key=lambda entry: entry.instance.begun_us)
    begun_us = min(run.begun_us, shown[0].instance.begun_us)
    return LoggedStudy(
        orthanc_id=run.study,
        at=clock_time(begun_us),
        instances=run.count,
        elapsed_ms=(run.last_us - begun_us) / 1e3,
        shown=[_shown(entry, begun_us) for entry in shown],
    )


def _shown(entry: Shown, begun_us: int) -> ShownInstance:
    return ShownInstance(
        begin_ms=(entry.instance.begun_us - begun_us) / 1e3,
        protocol=entry.instance.protocol,
        client=entry.instance.client,
        orthanc_id=entry.instance.orthanc_id,
        total_ms=sum(length for _, length in entry.parts) / 1e3,
        stages={name: length / 1e3 for name, length in entry.parts},
    )


def _snapshots(account: Account, protocol: str, names: list[str]) -> list[StageSnapshot]:
    """Return the durations under `names`; shares are of the time of all instances of the protocol."""
    whole_ns = account.histogram(protocol, stages.TOTAL).sum_ns
    return [stage_snapshot(name, account.histogram(protocol, name).summary(), whole_ns) for name in names]


def _slow(instance: LoggedInstance, total_us: int) -> SlowLogged:
    last_us = instance.begun_us + total_us
    return SlowLogged(
        at=clock_time(instance.begun_us),
        protocol=instance.protocol,
        orthanc_id=instance.orthanc_id,
        client=instance.client,
        total_ms=total_us / 1e3,
        stages={name: duration / 1e3 for name, duration in instance.split(last_us)},
    )


def clock_time(time_us: int) -> str:
    """Return a time of the log as hours, minutes, seconds and microseconds; the day is left out."""
    seconds, fraction = divmod(time_us % DAY_US, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"


def counted(counts: Mapping[str, int], name: str) -> int:
    """Return a count that may be absent."""
    return counts.get(name, 0)
