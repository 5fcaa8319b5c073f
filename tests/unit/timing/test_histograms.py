import random

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from timing.histograms import BUCKETS_SECONDS, HIGHEST_US, SIGNIFICANT_DIGITS, Pending, StageHistogram, bucket_bounds

REFERENCE = HdrHistogram(1, HIGHEST_US, SIGNIFICANT_DIGITS)


def histogram_of(durations_us: list[int]) -> StageHistogram:
    pending = Pending()
    for duration in durations_us:
        pending.add(duration * 1000)
    histogram = StageHistogram()
    histogram.absorb(pending)
    return histogram


@given(st.integers(0, HIGHEST_US))
def test_the_front_loses_exactly_what_the_histogram_would_lose_anyway(microseconds: int) -> None:
    pending = Pending()
    pending.add(microseconds * 1000)
    assert list(pending.counts) == [REFERENCE.get_lowest_equivalent_value(microseconds)]


def test_percentiles_agree_with_sorted_values_to_three_digits() -> None:
    rng = random.Random(7)
    durations = sorted(int(rng.lognormvariate(9, 1.5)) for _ in range(10_000))
    summary = histogram_of(durations).summary()
    assert summary.p50_us == pytest.approx(durations[4_999], rel=2e-3)
    assert summary.p99_us == pytest.approx(durations[9_899], rel=2e-3)
    assert (summary.max_ns, summary.sum_ns, summary.count) == (durations[-1] * 1000, sum(durations) * 1000, 10_000)


def test_no_percentile_lies_above_the_maximum() -> None:
    summary = histogram_of([1_000_003]).summary()
    assert summary.p50_us == summary.p99_us == 1_000_003


def test_an_empty_histogram_is_all_zero() -> None:
    summary = StageHistogram().summary()
    assert (summary.count, summary.sum_ns, summary.max_ns, summary.p50_us, summary.p99_us) == (0, 0, 0, 0, 0)


def test_durations_out_of_range_are_moved_to_its_ends_and_counted() -> None:
    pending = Pending()
    pending.add(-5)
    pending.add(2 * HIGHEST_US * 1000)
    pending.add(500)  # below a microsecond is in range: it counts as zero
    assert pending.clamped == 2
    histogram = StageHistogram()
    histogram.absorb(pending)
    assert (histogram.count, histogram.max_ns) == (3, HIGHEST_US * 1000)


def test_durations_of_every_size_need_no_more_memory_than_the_histogram_itself() -> None:
    pending = Pending()
    rng = random.Random(3)
    for _ in range(100_000):
        pending.add(int(10 ** rng.uniform(0, 12.5)))
    assert len(pending.counts) <= REFERENCE.counts_len


def test_buckets_are_cumulative_and_include_their_bound() -> None:
    histogram = histogram_of([100, 101, 50_000, 70_000_000])
    by_bound = dict(zip(bucket_bounds(), histogram.cumulative_buckets(), strict=True))
    assert (by_bound["0.0001"], by_bound["0.00025"], by_bound["0.05"], by_bound["60.0"], by_bound["+Inf"]) == (
        1,
        2,
        3,
        3,
        4,
    )
    assert list(BUCKETS_SECONDS) == sorted(BUCKETS_SECONDS)
