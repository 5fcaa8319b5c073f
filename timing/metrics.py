"""Metrics that other packages contribute, checked before they reach the exposition."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as Family

_METRIC_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_LABEL_NAME: Final = re.compile(r"(?!__)[a-z_][a-z0-9_]*")


class Metric(NamedTuple):
    """One metric of a source. `samples` holds (labels, value) pairs; a counter's name may carry its _total or not."""

    name: str
    help: str
    kind: Literal["counter", "gauge"]
    samples: Iterable[tuple[Mapping[str, str], float]]


Source = Callable[[], Iterable[Metric]]


def families_of(source: Source, taken: Collection[str]) -> list[Family]:
    """Return the metrics of `source`, checked.

    Args:
        source: called once.
        taken: names of metrics that are in the exposition already.

    Raises:
        ValueError: a metric is malformed, or its name is taken; Prometheus would drop the whole scrape for it.
        Exception: whatever the source raises.
    """
    families: list[Family] = []
    for metric in source():
        family = checked_family(metric)
        if family.name in taken or any(family.name == other.name for other in families):
            raise ValueError(f"metric {metric.name}: its name is taken")
        families.append(family)
    return families


def checked_family(metric: Metric) -> Family:
    """Return a metric as prometheus_client has it.

    Raises:
        ValueError: the metric is malformed; the message names it.
    """
    name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
    if not _METRIC_NAME.fullmatch(name):
        raise ValueError(f"metric name {metric.name!r}: expected lower-case letters, digits and underscores")
    samples = [(dict(labels), float(value)) for labels, value in metric.samples]
    label_names = sorted(samples[0][0]) if samples else []
    if any(sorted(labels) != label_names for labels, _ in samples):
        raise ValueError(f"metric {metric.name}: every sample needs the same labels")
    if not all(_LABEL_NAME.fullmatch(label) for label in label_names):
        raise ValueError(f"metric {metric.name}: bad label among {label_names}")
    values = {tuple(str(labels[label]) for label in label_names): value for labels, value in samples}
    if len(values) < len(samples):
        raise ValueError(f"metric {metric.name}: two samples have the same labels")
    family = _new_family(metric.kind, name, metric.help, label_names)
    for key, value in values.items():
        family.add_metric(list(key), value)
    return family


def _new_family(kind: str, name: str, text: str, labels: list[str]) -> CounterMetricFamily | GaugeMetricFamily:
    match kind:
        case "counter":
            return CounterMetricFamily(name, text, labels=labels)
        case "gauge":
            return GaugeMetricFamily(name, text, labels=labels)
    raise ValueError(f"metric {name}: kind {kind!r}, expected counter or gauge")
