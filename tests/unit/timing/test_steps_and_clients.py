"""Steps of a stage, the response to the instance before, and clients, with a clock turned by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from timing import Exposition, ProtocolSnapshot, Recorder, Settings, server_timing
from timing.clients import OTHER, UNNAMED, printable

from .conftest import MS, Clock


def store(recorder: Recorder, clock: Clock, client: str = "", sync_ms: float | None = 2) -> None:
    recorder.received("http", 10)
    clock.wait_ms(10)
    recorder.transcoded("transcoded", {"scan": MS, "decode": 0, "encode": 4 * MS, "verify": 3 * MS})
    clock.wait_ms(1)
    for _ in range(2):
        recorder.write_started(5)
        clock.wait_ms(3)
        recorder.write_ended(sync_ns=None if sync_ms is None else round(sync_ms * MS))
        clock.wait_ms(1)
    recorder.committed("an-id", client)


def only(recorder: Recorder) -> ProtocolSnapshot:
    (entry,) = recorder.snapshot().protocols
    return entry


def steps_ms(entry: ProtocolSnapshot, stage: str) -> dict[str, float]:
    (found,) = [row for row in entry.stages if row.stage == stage]
    return {step.stage: step.mean_ms for step in found.steps}


def test_steps_are_told_inside_their_stage_and_add_up_to_it(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock)
    entry = only(recorder)
    assert steps_ms(entry, "transcode") == {"scan": 1, "encode": 4, "verify": 3, "other": 2}
    assert steps_ms(entry, "write") == {"file": 2, "sync": 4, "between": 1}
    assert [row.stage for row in entry.stages] == ["transcode", "prepare", "write", "commit", "total"]


@pytest.mark.parametrize("sync_ms", [None, 3.5], ids=["the storage area does not tell", "longer than the write itself"])
def test_steps_that_are_unknown_or_impossible_are_left_out(
    recorder: Recorder, clock: Clock, sync_ms: float | None
) -> None:
    store(recorder, clock, sync_ms=sync_ms)
    assert steps_ms(only(recorder), "write") == {}
    assert steps_ms(only(recorder), "transcode") != {}


@given(st.lists(st.integers(0, 10**9), min_size=3, max_size=3), st.integers(0, 10**9), st.integers(0, 10**9))
def test_whatever_the_times_steps_add_up_to_the_stage_or_are_not_there(known: list[int], whole: int, sync: int) -> None:
    clock = Clock()
    recorder = Recorder(Settings(), clock=clock)
    recorder.received("http", 1)
    clock.now_ns += whole
    recorder.transcoded("", dict(zip(("scan", "encode", "verify"), known, strict=True)))
    recorder.write_started(1)
    clock.now_ns += whole
    recorder.write_ended(sync_ns=sync)
    finished = recorder.committed()
    assert finished is not None
    for stage in ("transcode", "write"):
        steps = [duration_ns for name, duration_ns in finished.steps if name.startswith(stage)]
        assert not steps or (sum(steps) == dict(finished.parts)[stage] and min(steps) >= 0)


def cstore(
    recorder: Recorder, clock: Clock, waited_ms: float, association: int = 7, *, follows: bool = True
) -> dict[str, float]:
    recorder.received(
        "cstore",
        10,
        waited_ns=round(waited_ms * MS),
        receiving_ns=5 * MS,
        queued_ns=2 * MS,
        association=association,
        follows=follows,
    )
    recorder.transcoded()
    clock.wait_ms(4)
    finished = recorder.committed()
    assert finished is not None
    return {name: duration_ns / MS for name, duration_ns in finished.parts}


def test_the_response_to_the_instance_before_lies_between_its_commit_and_the_wait(
    recorder: Recorder, clock: Clock
) -> None:
    first = cstore(recorder, clock, 30)
    assert first == {"wait": 30, "receive": 5, "queue": 2, "transcode": 0, "store": 4}
    clock.wait_ms(40 + 6 + 5 + 2)  # the answer left after 40 ms, the next data set began 6 ms later
    second = cstore(recorder, clock, 6)
    assert second == {"response": 40, "wait": 6, "receive": 5, "queue": 2, "transcode": 0, "store": 4}


def test_a_response_cannot_have_left_before_its_instance_was_committed(recorder: Recorder, clock: Clock) -> None:
    cstore(recorder, clock, 30)
    clock.wait_ms(1 + 5 + 2)
    second = cstore(recorder, clock, 4)  # the kernel's tick is 4 ms
    assert (second["response"], second["wait"]) == (0, 1)


def test_another_association_or_a_refused_instance_in_between_leaves_the_response_unknown(
    recorder: Recorder, clock: Clock
) -> None:
    cstore(recorder, clock, 1)
    clock.wait_ms(50)
    assert "response" not in cstore(recorder, clock, 1, association=8)
    recorder.received("cstore", 1, waited_ns=1, receiving_ns=1, queued_ns=1, association=7, follows=True)
    recorder.transcoded("refused")
    clock.wait_ms(50)
    assert "response" not in cstore(recorder, clock, 1, association=7)


def test_an_instance_in_between_whose_association_nobody_knew_leaves_the_response_unknown(
    recorder: Recorder, clock: Clock
) -> None:
    cstore(recorder, clock, 1)
    recorder.received("cstore", 10)
    recorder.transcoded()
    recorder.committed()
    clock.wait_ms(50)
    assert "response" not in cstore(recorder, clock, 1, follows=False)
    clock.wait_ms(50)
    assert "response" in cstore(recorder, clock, 1)


def test_slow_responses_and_waits_do_not_make_the_next_instance_slow(recorder: Recorder, clock: Clock) -> None:
    cstore(recorder, clock, 1)
    clock.wait_ms(60_000)
    cstore(recorder, clock, 30_000)
    assert recorder.slowest()[0].work_ms == 11


def test_associations_that_come_and_go_do_not_fill_the_memory(recorder: Recorder, clock: Clock) -> None:
    for association in range(1000):
        cstore(recorder, clock, 1, association)
    assert len(recorder._before_arrival._commits) == 256


def test_each_client_has_its_own_stages_and_the_rest_share_one_name(clock: Clock) -> None:
    recorder = Recorder(Settings(max_clients=2), clock=clock)
    for client in ("CT1", "CT2", "CT3", "CT4", "CT1", ""):
        store(recorder, clock, client)
    clients = {client.client: client for client in only(recorder).clients}
    assert {name: client.instances for name, client in clients.items()} == {"CT1": 2, "CT2": 1, OTHER: 2, UNNAMED: 1}
    assert {row.stage for row in clients["CT1"].stages} == {"transcode", "prepare", "write", "commit", "total"}
    recorder.reset()
    store(recorder, clock, "CT9")
    assert [client.client for client in only(recorder).clients] == ["CT9"]


HOSTILE = {
    "quotes and backslashes": 'A"B\\C',
    "a line break": "A\nB{evil} 1",
    "a bell": "\x07",
    "surrogates": "\udcff",
    "very long": "X" * 5000,
    "right-to-left override": "\u202eABC",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_names_of_clients_neither_break_the_exposition_nor_hide(clock: Clock, name: str) -> None:
    recorder = Recorder(Settings(), clock=clock)
    store(recorder, clock, name)
    families = {
        family.name: family for family in text_string_to_metric_families(Exposition(recorder).render().decode())
    }
    (sample,) = families["orthanc_bundle_ingest_client_instances"].samples
    assert sample.labels == {"protocol": "http", "client": printable(name)}
    assert printable(name).isprintable()
    assert len(printable(name)) <= 64
    assert not any(printable(name).lower() in metric for metric in Exposition(recorder).flat())


@pytest.mark.parametrize("name", ["", " " * 16, "\0\0"])
def test_blank_names_are_no_names(name: str) -> None:
    assert printable(name) == UNNAMED


def test_flat_names_hold_every_counter_once(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock, "CT")
    flat = Exposition(recorder).flat()
    assert flat["orthanc_bundle_ingest_instances_total_http"] == 1
    assert flat["orthanc_bundle_ingest_step_seconds_sum_http_write_sync"] == pytest.approx(0.004)
    assert flat["orthanc_bundle_ingest_seconds_count_http"] == 1
    assert all(name.replace("_", "").isalnum() for name in flat)


def test_one_instance_as_server_timing(recorder: Recorder, clock: Clock) -> None:
    recorder.received("http", 10)
    recorder.transcoded()
    clock.wait_ms(4.567)
    finished = recorder.committed("an-id")
    assert finished is not None
    assert server_timing(finished) == "transcode;dur=0.00, store;dur=4.57, total;dur=4.57"


def test_idle_is_the_time_since_the_last_commit_and_never_while_one_is_in_flight(
    recorder: Recorder, clock: Clock
) -> None:
    store(recorder, clock)
    clock.wait_ms(2500)
    assert recorder.idle_seconds() == 2.5
    recorder.received("http", 1)
    clock.wait_ms(2500)
    assert recorder.idle_seconds() == 0


def test_an_upload_s_first_instance_knows_when_its_request_began_and_no_other_does(
    recorder: Recorder, clock: Clock
) -> None:
    seen = []
    recorder.request_began(upload=True)
    clock.wait_ms(30)
    for _ in range(2):  # a ZIP of two
        recorder.received("http", 10)
        recorder.transcoded()
        clock.wait_ms(1)
        finished = recorder.committed()
        assert finished is not None
        seen.append({name: duration_ns / MS for name, duration_ns in finished.parts})
    recorder.request_began(upload=True)  # refused before the callback; then a request that is no upload, then a job
    recorder.request_began(upload=False)
    store(recorder, clock)
    assert seen == [{"receive": 30, "transcode": 0, "store": 1}, {"transcode": 0, "store": 1}]
    assert {row.stage: row.count for row in only(recorder).stages}["receive"] == 1
