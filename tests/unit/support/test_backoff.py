"""How long to wait before the next attempt."""

from __future__ import annotations

import pytest

from support.backoff import backoff_ms


@pytest.mark.parametrize(
    ("attempts", "jitter", "expected_ms"),
    [
        (1, 0.0, 5_000),  # the first retry
        (2, 0.0, 10_000),  # doubles
        (3, 0.0, 20_000),
        (10, 0.0, 2_560_000),
        (11, 0.0, 3_600_000),  # the cap
        (5_000, 0.0, 3_600_000),  # no overflow
        (1, 0.999999, 3_750),  # the jitter takes a quarter at most
        (11, 0.5, 3_150_000),
    ],
)
def test_backoff(attempts: int, jitter: float, expected_ms: int) -> None:
    assert backoff_ms(attempts, 5, 3600, jitter) == expected_ms
