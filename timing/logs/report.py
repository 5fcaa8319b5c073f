"""What a log tells, ready for JSON. Durations are in milliseconds."""

from collections.abc import Mapping

import msgspec

from .. import stages
from ..snapshot import StageSnapshot, ordered, stage_snapshot
from .account import ANSWER, GAP, NEW_INSTANCE, OTHER_CHANGE, Account
from .finding import Finding
from .findings import findings_of
from .instance import LoggedInstance
from .lines import DAY_US

PROTOCOLS = (stages.HTTP, stages.CSTORE)


class LoggedProtocol(msgspec.Struct, frozen=True):
    """What came in over one protocol.

    `stages` holds only instances whose lines are certain; `overlapped` ones are not among them. `beside` holds what is no
    stage: the gap to the instance before of the same client, the HTTP answer, the lines of changes.
    """

    protocol: str
    instances: int
    overlapped: int
    unfinished: int
    stages: list[StageSnapshot]
    beside: list[StageSnapshot]


class SlowLogged(msgspec.Struct, frozen=True):
    """One of the slowest instances; `at` is when it began, as the log writes it."""

    at: str
    protocol: str
    orthanc_id: str
    client: str
    total_ms: float
    stages: dict[str, float]


class LogReport(msgspec.Struct, frozen=True):
    """Everything a log tells. `counts` tells of its lines, the damaged ones among them."""

    counts: dict[str, int]
    protocols: list[LoggedProtocol]
    slowest: list[SlowLogged]
    findings: list[Finding]


def report_of(account: Account) -> LogReport:
    """Return what `account` adds up to."""
    return LogReport(
        counts=dict(account.counts),
        protocols=[_protocol(account, name) for name in PROTOCOLS if _occurs(account, name)],
        slowest=[_slow(instance, total) for total, _, instance, _ in sorted(account.slowest, reverse=True)],
        findings=findings_of(account),
    )


def _occurs(account: Account, protocol: str) -> bool:
    return bool(account.instances[protocol] or account.unfinished[protocol])


def _protocol(account: Account, protocol: str) -> LoggedProtocol:
    names = [name for owner, name in account.durations if owner == protocol]
    beside = [name for name in (GAP, ANSWER, NEW_INSTANCE, OTHER_CHANGE) if name in names]
    return LoggedProtocol(
        protocol=protocol,
        instances=account.instances[protocol],
        overlapped=account.overlapped[protocol],
        unfinished=account.unfinished[protocol],
        stages=_snapshots(account, protocol, ordered(name for name in names if name in stages.STAGE_NAMES)),
        beside=_snapshots(account, protocol, beside),
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
