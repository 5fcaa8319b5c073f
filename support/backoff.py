"""How long to wait before the next attempt."""

from __future__ import annotations


def backoff_ms(attempts: int, min_s: float, max_s: float, jitter: float = 0.0) -> int:
    """Milliseconds until the next attempt: doubling from ``min_s``, at most ``max_s``, less up to a quarter.

    With jitter, ten thousand files that failed together (a share went away) are not all tried again together.

    Args:
        attempts: Failed attempts so far, this one included (1 or more).
        min_s: The first delay, in seconds.
        max_s: The longest, in seconds.
        jitter: From 0 (none) up to, not including, 1.
    """
    delay_s = min(max_s, min_s * 2.0 ** min(attempts - 1, 40))
    return max(1, round(delay_s * 1000 * (1 - jitter / 4)))
