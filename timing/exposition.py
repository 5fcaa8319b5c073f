"""Renders the numbers of the bundle, the recorder's included, as Prometheus text."""

import logging
import re
from collections.abc import Iterator
from threading import Lock
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from .histograms import bucket_bounds
from .metrics import Source, families_of
from .recorder import Recorder
from .reports import Reading
from .stages import TOTAL

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4
"""The content type of what `Exposition.render` returns."""

PREFIX: Final = "orthanc_bundle_"
_NOT_OF_A_NAME: Final = re.compile(r"[^a-z0-9]+")

_log = logging.getLogger(__name__)


class Exposition:
    """Renders the numbers of every added source, and the recorder's, as one Prometheus exposition.

    Args:
        recorder: None where stages are not timed.
    """

    def __init__(self, recorder: Recorder | None = None) -> None:
        self._collector = _BundleCollector(recorder)
        # A registry of our own: the default one adds metrics of the process, which here is Orthanc's.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self._collector)

    def add_source(self, source: Source, *, name: str = "") -> None:
        """Add numbers that are asked for at each rendering.

        A source that raises, or gives a metric that is malformed or already there, loses only its own numbers: it is
        logged once and counted in orthanc_bundle_source_errors_total.

        Args:
            source: returns the metrics; called on the thread that renders.
            name: names the source in the log and in the error counter; the function's own name when empty.
        """
        self._collector.add_source(source, name or getattr(source, "__qualname__", type(source).__name__))

    def render(self) -> bytes:
        """Return the exposition, of content type CONTENT_TYPE."""
        return generate_latest(self._registry)

    def flat(self) -> dict[str, float]:
        """Return the numbers with their labels as part of their names, for Orthanc's own metrics, which have no labels.

        Of histograms only the count and the sum. Nothing by client: a name that a peer chose must not become part of a
        metric's name.
        """
        found: dict[str, float] = {}
        for family in self._collector.collect():
            for sample in family.samples:
                if sample.name.endswith(("_bucket", "_created")) or "client" in sample.labels:
                    continue
                name = _NOT_OF_A_NAME.sub("_", "_".join([sample.name, *sample.labels.values()]).lower())
                found[name] = found.get(name, 0.0) + sample.value
        return found


class _BundleCollector(Collector):
    def __init__(self, recorder: Recorder | None) -> None:
        self._recorder = recorder
        self._sources: list[tuple[str, Source]] = []
        self._errors: dict[str, int] = {}
        self._lock = Lock()

    def add_source(self, source: Source, name: str) -> None:
        with self._lock:
            self._sources.append((name, source))
            self._errors.setdefault(name, 0)

    def collect(self) -> Iterator[Family]:
        own = [] if self._recorder is None else list(_recorder_families(self._recorder.reading()))
        errors = CounterMetricFamily(
            f"{PREFIX}source_errors", "Times a source of metrics failed or gave a malformed metric.", labels=["source"]
        )
        taken = {family.name for family in [*own, errors]}
        yield from own
        for name, source in list(self._sources):
            yield from self._families_of(name, source, taken)
        for name, count in sorted(self._errors.items()):
            errors.add_metric([name], count)
        yield errors

    def _families_of(self, name: str, source: Source, taken: set[str]) -> list[Family]:
        try:
            families = families_of(source, taken)
        except Exception:  # noqa: BLE001 -- one broken source must not take all other numbers away
            self._count_error(name)
            return []
        taken.update(family.name for family in families)
        return families

    def _count_error(self, name: str) -> None:
        with self._lock:
            first = not self._errors[name]
            self._errors[name] += 1
        if first:
            _log.warning("Metrics of %s are left out of the exposition: it failed (logged once)", name, exc_info=True)


# Attribute of a tally, metric, help.
_TALLIES: Final = (
    ("instances", "ingest_instances", "Instances stored."),
    ("size_bytes", "ingest_received_bytes", "Size, as received, of the instances stored."),
    ("written_bytes", "ingest_written_bytes", "Bytes the storage area wrote for the instances stored."),
    ("duplicates", "ingest_duplicate_instances", "Instances received that the archive had already."),
    ("unfinished", "ingest_unfinished_instances", "Instances received that were never stored: refused or failed."),
    ("failed_writes", "ingest_failed_writes", "Writes to the storage area that failed."),
)
# Attribute of the oddities, metric, help.
_ODDITIES: Final = (
    ("stray_writes", "ingest_stray_writes", "Writes that belonged to no instance, such as attachments of users."),
    ("out_of_order", "ingest_out_of_order_events", "Events of stages that came without the event before them."),
    ("clamped", "ingest_clamped_durations", "Durations below zero or above one hour, recorded as that."),
)


def _recorder_families(reading: Reading) -> Iterator[Family]:
    for attribute, name, text in _TALLIES:
        counter = CounterMetricFamily(PREFIX + name, text, labels=["protocol"])
        for protocol, tally in sorted(reading.tallies.items()):
            counter.add_metric([protocol], getattr(tally, attribute))
        yield counter
    for attribute, name, text in _ODDITIES:
        yield CounterMetricFamily(PREFIX + name, text, value=getattr(reading.oddities, attribute))
    yield GaugeMetricFamily(
        f"{PREFIX}ingest_in_flight_instances", "Instances received and not yet stored.", value=reading.in_flight
    )
    yield from _duration_families(reading)
    yield from _client_families(reading)


def _duration_families(reading: Reading) -> Iterator[Family]:
    """Yield the stages and, apart from them, the total: summing a metric over its labels must not count time twice."""
    stages = HistogramMetricFamily(
        f"{PREFIX}ingest_stage_seconds", "Time an instance spent in one stage.", labels=["protocol", "stage"]
    )
    total = HistogramMetricFamily(
        f"{PREFIX}ingest_seconds", "Time from the first stage known of an instance to its commit.", labels=["protocol"]
    )
    steps = HistogramMetricFamily(
        f"{PREFIX}ingest_step_seconds",
        "Time in one step of a stage, of instances whose steps are known; part of ingest_stage_seconds.",
        labels=["protocol", "stage", "step"],
    )
    bounds = bucket_bounds()
    for entry in reading.buckets:
        buckets = list(zip(bounds, map(float, entry.cumulative), strict=True))
        if entry.stage == TOTAL:
            total.add_metric([entry.protocol], buckets, entry.sum_seconds)
        elif "." in entry.stage:
            steps.add_metric([entry.protocol, *entry.stage.split(".")], buckets, entry.sum_seconds)
        else:
            stages.add_metric([entry.protocol, entry.stage], buckets, entry.sum_seconds)
    yield stages
    yield steps
    yield total


def _client_families(reading: Reading) -> Iterator[Family]:
    """Yield what each client did; no stage has buckets for each client, or there would be thousands of series."""
    labels = ["protocol", "client"]
    count = CounterMetricFamily(f"{PREFIX}ingest_client_instances", "Instances stored, by client.", labels=labels)
    size = CounterMetricFamily(f"{PREFIX}ingest_client_received_bytes", "Size as received, by client.", labels=labels)
    for key, tally in sorted(reading.client_tallies.items()):
        count.add_metric(list(key), tally.instances)
        size.add_metric(list(key), tally.size_bytes)
    total = HistogramMetricFamily(
        f"{PREFIX}ingest_client_seconds", "Time from the first stage known to the commit, by client.", labels=labels
    )
    stages = CounterMetricFamily(
        f"{PREFIX}ingest_client_stage_seconds", "Time in each stage, by client.", labels=[*labels, "stage"]
    )
    bounds = bucket_bounds()
    for entry in reading.client_buckets:
        buckets = list(zip(bounds, map(float, entry.cumulative), strict=True))
        total.add_metric([entry.protocol, entry.client], buckets, entry.stage_seconds[TOTAL])
        for stage, seconds in sorted(entry.stage_seconds.items()):
            if stage != TOTAL:
                stages.add_metric([entry.protocol, entry.client, stage], seconds)
    yield from (count, size, total, stages)
