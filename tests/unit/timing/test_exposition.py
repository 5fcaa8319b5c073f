import logging
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from timing import Exposition, Metric, Recorder

from .conftest import Clock
from .test_recorder import store


def samples(exposition: Exposition) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = list(text_string_to_metric_families(exposition.render().decode()))
    assert len({family.name for family in families}) == len(families)
    found = [
        (sample.name, tuple(sorted(sample.labels.items())), sample.value)
        for family in families
        for sample in family.samples
    ]
    assert len({(name, labels) for name, labels, _ in found}) == len(found)
    return {(name, labels): value for name, labels, value in found}


@pytest.fixture
def exposition(recorder: Recorder) -> Exposition:
    return Exposition(recorder)


def test_stages_are_histograms_in_seconds_with_the_total_apart(
    recorder: Recorder, clock: Clock, exposition: Exposition
) -> None:
    store(recorder, clock)
    store(recorder, clock)
    found = samples(exposition)
    write = (("protocol", "http"), ("stage", "write"))
    assert found["orthanc_bundle_ingest_stage_seconds_count", write] == 2
    assert found["orthanc_bundle_ingest_stage_seconds_sum", write] == pytest.approx(0.016)
    assert found["orthanc_bundle_ingest_stage_seconds_bucket", (("le", "0.005"), *write)] == 0
    assert found["orthanc_bundle_ingest_stage_seconds_bucket", (("le", "0.01"), *write)] == 2
    assert found["orthanc_bundle_ingest_stage_seconds_bucket", (("le", "+Inf"), *write)] == 2
    assert found["orthanc_bundle_ingest_seconds_sum", (("protocol", "http"),)] == pytest.approx(0.032)
    assert not any(("stage", "total") in labels for _, labels in found)


def test_counters_of_instances_and_bytes_have_the_protocol_as_label(
    recorder: Recorder, clock: Clock, exposition: Exposition
) -> None:
    store(recorder, clock, "cstore")
    recorder.received("cstore", 1)
    recorder.received("cstore", 1)
    found = samples(exposition)
    label = (("protocol", "cstore"),)
    assert found["orthanc_bundle_ingest_instances_total", label] == 1
    assert found["orthanc_bundle_ingest_received_bytes_total", label] == 1000
    assert found["orthanc_bundle_ingest_written_bytes_total", label] == 660
    assert found["orthanc_bundle_ingest_unfinished_instances_total", label] == 1
    assert found["orthanc_bundle_ingest_in_flight_instances", ()] == 1


def test_an_empty_recorder_gives_a_valid_exposition(exposition: Exposition) -> None:
    assert samples(exposition)["orthanc_bundle_ingest_in_flight_instances", ()] == 0


def test_every_metric_has_help_and_a_type_and_starts_with_our_prefix(
    recorder: Recorder, clock: Clock, exposition: Exposition
) -> None:
    store(recorder, clock)
    for family in text_string_to_metric_families(exposition.render().decode()):
        assert family.name.startswith("orthanc_bundle_")
        assert family.documentation
        assert family.type in {"counter", "gauge", "histogram"}


def test_numbers_of_others_appear_beside_ours(exposition: Exposition) -> None:
    exposition.add_source(
        lambda: [
            Metric(
                "orthanc_bundle_pending_deletions",
                "WaitReason.",
                "gauge",
                [({"state": 'qu"ote\n'}, 3), ({"state": "failed"}, 1)],
            ),
            Metric("orthanc_bundle_deleted_bytes_total", "Freed.", "counter", [({}, 12.5)]),
            Metric("orthanc_bundle_nothing_yet", "Empty.", "gauge", []),
        ],
        name="deferred_delete",
    )
    found = samples(exposition)
    assert found["orthanc_bundle_pending_deletions", (("state", 'qu"ote\n'),)] == 3
    assert found["orthanc_bundle_deleted_bytes_total", ()] == 12.5
    assert found["orthanc_bundle_source_errors_total", (("source", "deferred_delete"),)] == 0


def _half_a_source() -> Iterator[Metric]:
    yield Metric("orthanc_bundle_half", "Half.", "gauge", [({}, 1)])
    raise OSError("the ledger is locked")


BROKEN = {
    "raises": lambda: 1 / 0,
    "raises after its first metric": _half_a_source,
    "no iterable": lambda: None,
    "a name Prometheus refuses": lambda: [Metric("bad name", "x", "gauge", [({}, 1)])],
    "a kind we do not know": lambda: [Metric("orthanc_bundle_x", "x", "summary", [({}, 1)])],  # type: ignore[arg-type]
    "no number": lambda: [Metric("orthanc_bundle_x", "x", "gauge", [({}, "many")])],  # type: ignore[list-item]
    "labels that differ": lambda: [Metric("orthanc_bundle_x", "x", "gauge", [({"a": "1"}, 1), ({}, 1)])],
    "a label Prometheus refuses": lambda: [Metric("orthanc_bundle_x", "x", "gauge", [({"a-b": "1"}, 1)])],
    "one sample twice": lambda: [Metric("orthanc_bundle_x", "x", "gauge", [({"a": "1"}, 1), ({"a": "1"}, 2)])],
    "one name twice": lambda: [
        Metric("orthanc_bundle_x", "x", "gauge", []),
        Metric("orthanc_bundle_x", "x", "gauge", []),
    ],
    "a name of ours": lambda: [Metric("orthanc_bundle_ingest_instances_total", "x", "counter", [({}, 1)])],
}


@pytest.mark.parametrize("source", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_source_costs_only_its_own_numbers_and_is_logged_once(
    recorder: Recorder, clock: Clock, exposition: Exposition, caplog: pytest.LogCaptureFixture, source: object
) -> None:
    store(recorder, clock)
    exposition.add_source(source, name="broken")  # type: ignore[arg-type]
    exposition.add_source(lambda: [Metric("orthanc_bundle_good", "Good.", "gauge", [({}, 1)])])
    with caplog.at_level(logging.WARNING):
        samples(exposition)
        found = samples(exposition)
    assert found["orthanc_bundle_source_errors_total", (("source", "broken"),)] == 2
    assert found["orthanc_bundle_good", ()] == 1
    assert found["orthanc_bundle_ingest_instances_total", (("protocol", "http"),)] == 1
    assert not any(name.startswith(("orthanc_bundle_x", "orthanc_bundle_half")) for name, _ in found)
    assert len(caplog.records) == 1


def test_two_sources_may_not_give_the_same_metric(exposition: Exposition) -> None:
    for name in ("first", "second"):
        exposition.add_source(lambda: [Metric("orthanc_bundle_same", "Same.", "gauge", [({}, 1)])], name=name)
    found = samples(exposition)
    assert found["orthanc_bundle_source_errors_total", (("source", "first"),)] == 0
    assert found["orthanc_bundle_source_errors_total", (("source", "second"),)] == 1
