"""The last minutes, with a clock turned by hand, and the sparse histogram they are made of."""

from __future__ import annotations

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from timing import Recorder
from timing.histograms import HIGHEST_US, Counts, Pending
from timing.snapshot import WindowSnapshot
from timing.windows import SLOTS, coarse

from .conftest import Clock


def store(recorder: Recorder, clock: Clock, milliseconds: float, client: str = "CT") -> None:
    recorder.received("cstore", 10)
    recorder.transcoded()
    clock.wait_ms(milliseconds)
    recorder.committed("an-id", client)


def instances(recorder: Recorder) -> dict[int, int]:
    return {w.minutes: sum(p.instances for p in w.protocols) for w in recorder.windows()}


def window(recorder: Recorder, minutes: int) -> WindowSnapshot:
    return next(entry for entry in recorder.windows() if entry.minutes == minutes)


def test_an_instance_leaves_each_window_in_its_time(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock, 10)
    seen = [(0, instances(recorder))]
    for minute in range(1, 70):
        clock.wait_ms(60_000)
        if (found := instances(recorder)) != seen[-1][1]:
            seen.append((minute, found))
    assert [found for _, found in seen] == [
        {1: 1, 5: 1, 60: 1},
        {1: 0, 5: 1, 60: 1},
        {1: 0, 5: 0, 60: 1},
        {1: 0, 5: 0, 60: 0},
    ]
    assert [minute for minute, _ in seen] == [0, 2, 6, 65], "a window is up to a twelfth longer than its name"


def test_windows_have_stages_clients_rates_and_percentiles_of_their_own(recorder: Recorder, clock: Clock) -> None:
    for _ in range(100):
        store(recorder, clock, 10)
    recorder.fold()
    clock.wait_ms(120_000)
    for _ in range(10):
        store(recorder, clock, 500, "MR")
    clock.wait_ms(5_000)
    (protocol,) = window(recorder, 1).protocols
    (total,) = [stage for stage in protocol.stages if stage.stage == "total"]
    assert (total.count, total.max_ms) == (10, 500)
    assert total.p50_ms == pytest.approx(500, rel=0.01)
    assert [(client.client, client.instances) for client in protocol.clients] == [("MR", 10)]
    assert protocol.rate_per_s == pytest.approx(10 / 65, rel=0.1)
    (five,) = window(recorder, 5).protocols
    assert five.instances == 110
    assert {stage.stage: stage.count for stage in five.stages} == {"transcode": 110, "store": 110, "total": 110}
    assert sum(stage.share for stage in five.stages) == pytest.approx(2)


def test_a_young_window_is_as_long_as_the_recorder_is_old(recorder: Recorder, clock: Clock) -> None:
    clock.wait_ms(3000)
    assert [entry.seconds for entry in recorder.windows()] == [3, 3, 3]
    clock.wait_ms(7200_000)
    for entry in recorder.windows():
        assert entry.minutes * 60 <= entry.seconds <= entry.minutes * 60 * (1 + 1 / SLOTS)


def test_reset_empties_the_windows(recorder: Recorder, clock: Clock) -> None:
    store(recorder, clock, 1)
    recorder.fold()
    recorder.reset()
    assert instances(recorder) == {1: 0, 5: 0, 60: 0}


def test_an_hour_of_full_load_stays_within_a_few_megabytes(recorder: Recorder, clock: Clock) -> None:
    for step in range(24):  # folds without end add slots, but never more than a window has
        for milliseconds in range(1, 200):
            store(recorder, clock, milliseconds * (1 + step / 100))
        recorder.fold()
        clock.wait_ms(300_000)
    rings = recorder._reports._history._windows._rings
    assert max(len(ring._closed) for ring in rings) <= SLOTS + 1
    values = sum(len(packed.values) for ring in rings for _, slot in ring._closed for packed in slot.values())
    assert values * 12 < 1_000_000


@given(st.lists(st.integers(0, HIGHEST_US), min_size=1, max_size=300))
def test_two_digits_say_what_an_hdr_histogram_of_two_digits_says(durations_us: list[int]) -> None:
    pending, oracle = Pending(), HdrHistogram(1, HIGHEST_US, 2)
    for microseconds in durations_us:
        pending.add(microseconds * 1000)
        oracle.record_value(microseconds)
    summary = coarse(pending).summary()
    assert (summary.count, summary.sum_ns) == (len(durations_us), sum(durations_us) * 1000)
    ordered = sorted(durations_us)
    for percentile, found in ((50, summary.p50_us), (90, summary.p90_us), (99, summary.p99_us)):
        exact = ordered[-(-len(ordered) * percentile // 100) - 1]
        assert exact <= found <= exact * 1.008 + 1
        assert found <= max(durations_us)
        assert oracle.get_value_at_percentile(100) >= found


def test_nothing_recorded_is_nothing_said() -> None:
    assert Counts().summary().count == 0
