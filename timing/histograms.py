"""Histograms of durations: a quick one that callbacks add to, and HDR histograms for readers."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hdrh.histogram import HdrHistogram

SIGNIFICANT_DIGITS: Final = 3
HIGHEST_US: Final = 3_600_000_000
"""One hour. What takes longer is recorded as one hour, and counted as clamped."""

# A histogram of 3 digits has 2 * 10**3 sub-buckets rounded up to a power of two, 2**11: values of up to 11 bits are
# kept exactly, longer ones lose their lowest bits. Doing the same before the histogram loses nothing more, and bounds
# the front.
_KEPT_BITS: Final = 11
_EXACT_US: Final = (1 << _KEPT_BITS) - 1
# The same for two digits: 2 * 10**2, rounded up.
_COARSE_BITS: Final = 8

BUCKETS_SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
"""Upper bounds of the Prometheus buckets; +Inf follows."""
_BUCKETS_US: Final = tuple(round(seconds * 1e6) for seconds in BUCKETS_SECONDS)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a histogram says of its durations."""

    count: int
    sum_ns: int
    max_ns: int
    p50_us: int
    p90_us: int
    p99_us: int


class Pending:
    """Durations not yet in a histogram, counted by value.

    Adding one is one update of a dictionary; HdrHistogram.record_value takes about 1.5 us. Holds at most as many keys
    as the histogram has counters, whatever comes in. Not thread-safe: the registry's lock guards it.
    """

    __slots__ = ("clamped", "counts", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.sum_ns = 0
        self.max_ns = 0
        self.clamped = 0

    def add(self, duration_ns: int) -> None:
        """Count one duration in nanoseconds.

        Below zero it is recorded as zero, above one hour as one hour, and counted as clamped.
        """
        microseconds = duration_ns // 1000
        if not 0 <= microseconds <= HIGHEST_US:
            self.clamped += 1
            duration_ns = 0 if microseconds < 0 else HIGHEST_US * 1000
            microseconds = duration_ns // 1000
        if microseconds > _EXACT_US:
            lost_bits = microseconds.bit_length() - _KEPT_BITS
            microseconds = microseconds >> lost_bits << lost_bits
        counts = self.counts
        counts[microseconds] = counts.get(microseconds, 0) + 1
        self.sum_ns += duration_ns
        if duration_ns > self.max_ns:  # noqa: PLR1730 - called a dozen times an instance, and max() costs as much as all the rest
            self.max_ns = duration_ns


class Counts:
    """A histogram of two significant digits that holds only the values that occurred.

    It is small where there are many histograms with few values each. Not thread-safe: the fold lock guards it.
    """

    __slots__ = ("counts", "max_ns", "sum_ns")

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        self.sum_ns = 0
        self.max_ns = 0

    def merge(self, counts: Iterable[tuple[int, int]], sum_ns: int, max_ns: int) -> None:
        """Add (microseconds, count) pairs, with their exact sum and maximum."""
        own = self.counts
        for microseconds, count in counts:
            lost_bits = microseconds.bit_length() - _COARSE_BITS
            key = microseconds if lost_bits <= 0 else microseconds >> lost_bits << lost_bits
            own[key] = own.get(key, 0) + count
        self.sum_ns += sum_ns
        self.max_ns = max(self.max_ns, max_ns)

    def cumulative_buckets(self) -> list[int]:
        """Return how many durations are not above each bound of BUCKETS_SECONDS, to two digits; the last is +Inf."""
        buckets = [0] * (len(_BUCKETS_US) + 1)
        for microseconds, count in self.counts.items():
            buckets[bisect_left(_BUCKETS_US, microseconds)] += count
        total = 0
        return [total := total + count for count in buckets]

    def summary(self) -> Summary:
        """Return count, sum, maximum and percentiles, each the highest value that its two digits stand for."""
        total = sum(self.counts.values())
        highest_us = -(-self.max_ns // 1000)
        found: list[int] = []
        seen = 0
        for microseconds in sorted(self.counts):
            seen += self.counts[microseconds]
            lost_bits = max(0, microseconds.bit_length() - _COARSE_BITS)
            while len(found) < 3 and seen * 100 >= (50, 90, 99)[len(found)] * total:
                found.append(min(microseconds | (1 << lost_bits) - 1, highest_us))
        p50, p90, p99 = found or (0, 0, 0)
        return Summary(total, self.sum_ns, self.max_ns, p50, p90, p99)


class StageHistogram:
    """All durations of one stage of one protocol since the start. Not thread-safe: the fold lock guards it."""

    def __init__(self) -> None:
        self._hdr = HdrHistogram(1, HIGHEST_US, SIGNIFICANT_DIGITS)
        self._buckets = [0] * (len(_BUCKETS_US) + 1)
        self.sum_ns = 0
        self.max_ns = 0

    @property
    def count(self) -> int:
        """How many durations were recorded."""
        return int(self._hdr.total_count)

    def absorb(self, pending: Pending) -> None:
        """Add every duration of `pending`."""
        for microseconds, count in pending.counts.items():
            self._hdr.record_value(microseconds, count)
            self._buckets[bisect_left(_BUCKETS_US, microseconds)] += count
        self.sum_ns += pending.sum_ns
        self.max_ns = max(self.max_ns, pending.max_ns)

    def cumulative_buckets(self) -> list[int]:
        """Return how many durations are not above each bound of BUCKETS_SECONDS; the last is +Inf."""
        total = 0
        return [total := total + count for count in self._buckets]

    def summary(self) -> Summary:
        """Return count, sum, maximum and percentiles; all zero when nothing was recorded."""
        percentiles: dict[float, int] = self._hdr.get_percentile_to_value_dict([50, 90, 99]) if self.count else {}
        # A percentile is the top of its bucket, which can lie above every value that was recorded.
        highest_us = -(-self.max_ns // 1000)
        p50, p90, p99 = (min(percentiles.get(percentile, 0), highest_us) for percentile in (50, 90, 99))
        return Summary(self.count, self.sum_ns, self.max_ns, p50, p90, p99)


def bucket_bounds() -> Sequence[str]:
    """Return the buckets' upper bounds as Prometheus writes them, +Inf included."""
    return [*(repr(bound) for bound in BUCKETS_SECONDS), "+Inf"]
