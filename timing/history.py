"""Histograms of what was recorded: since the start by protocol and by client, and of the last minutes."""

from typing import NamedTuple

from .histograms import Counts, StageHistogram
from .snapshot import ClientSnapshot, ProtocolSnapshot, WindowProtocol, WindowSnapshot, stage_snapshots
from .stages import PROTOCOLS, TOTAL
from .totals import Drained, Tally
from .windows import Key, Window, Windows, by_client, coarse, over_clients


class StageBuckets(NamedTuple):
    """One stage (or "stage.step") of one protocol in the form of Prometheus: see histograms.BUCKETS_SECONDS."""

    protocol: str
    stage: str
    cumulative: list[int]
    sum_seconds: float


class ClientBuckets(NamedTuple):
    """One client of one protocol: its total's buckets, and the seconds of each stage."""

    protocol: str
    client: str
    cumulative: list[int]
    stage_seconds: dict[str, float]


class History:
    """Histograms of three significant digits by protocol, and of two by client and by window.

    Not thread-safe: the fold lock guards it.
    """

    def __init__(self, now_ns: int) -> None:
        self._protocols: dict[tuple[str, str], StageHistogram] = {}
        self._clients: dict[Key, Counts] = {}
        self._windows = Windows(now_ns)

    def absorb(self, drained: Drained, now_ns: int) -> None:
        """Add what was recorded since the fold before; in the windows it happened now."""
        for (protocol, client), row in drained.pending.items():
            for stage, pending in row.items():
                self._protocols.setdefault((protocol, stage), StageHistogram()).absorb(pending)
                counts = coarse(pending)
                key = (protocol, client, stage)
                self._clients.setdefault(key, Counts()).merge(counts.counts.items(), counts.sum_ns, counts.max_ns)
                self._windows.add(key, counts, now_ns)

    def protocol(self, protocol: str, tally: Tally, seconds: float) -> ProtocolSnapshot:
        """Return one protocol with its clients, since the start `seconds` ago; `tally` are its counters."""
        histograms = {stage: histogram for (owner, stage), histogram in self._protocols.items() if owner == protocol}
        summaries = {stage: histogram.summary() for stage, histogram in histograms.items()}
        return ProtocolSnapshot(
            protocol=protocol,
            instances=tally.instances,
            bytes=tally.size_bytes,
            written_bytes=tally.written_bytes,
            duplicates=tally.duplicates,
            unfinished=tally.unfinished,
            failed_writes=tally.failed_writes,
            stages=stage_snapshots(summaries, seconds),
            clients=_client_snapshots(self._clients, protocol, seconds),
        )

    def windows(self, now_ns: int) -> list[WindowSnapshot]:
        """Return every window, shortest first."""
        return [_window_snapshot(window) for window in self._windows.read(now_ns)]

    def stage_buckets(self) -> list[StageBuckets]:
        """Return the buckets of every stage and step."""
        return [
            StageBuckets(protocol, stage, histogram.cumulative_buckets(), histogram.sum_ns / 1e9)
            for (protocol, stage), histogram in sorted(self._protocols.items())
        ]

    def client_buckets(self) -> list[ClientBuckets]:
        """Return the buckets of every client."""
        return [
            ClientBuckets(
                protocol,
                client,
                stages[TOTAL].cumulative_buckets(),
                {stage: counts.sum_ns / 1e9 for stage, counts in stages.items() if "." not in stage},
            )
            for protocol in PROTOCOLS
            for client, stages in by_client(self._clients, protocol).items()
        ]


def _window_snapshot(window: Window) -> WindowSnapshot:
    protocols = []
    for protocol in PROTOCOLS:
        summaries = {stage: counts.summary() for stage, counts in over_clients(window.counts, protocol).items()}
        if summaries:
            instances = summaries[TOTAL].count
            protocols.append(
                WindowProtocol(
                    protocol=protocol,
                    instances=instances,
                    rate_per_s=instances / window.seconds if window.seconds else 0.0,
                    stages=stage_snapshots(summaries, window.seconds),
                    clients=_client_snapshots(window.counts, protocol, window.seconds),
                )
            )
    return WindowSnapshot(window.minutes, window.seconds, protocols)


def _client_snapshots(counts: dict[Key, Counts], protocol: str, seconds: float) -> list[ClientSnapshot]:
    found = []
    for client, stages in by_client(counts, protocol).items():
        summaries = {stage: entry.summary() for stage, entry in stages.items()}
        instances = summaries[TOTAL].count
        rate = instances / seconds if seconds else 0.0
        found.append(ClientSnapshot(client, instances, rate, stage_snapshots(summaries, seconds)))
    return found
