"""A clock that the tests turn by hand, and a recorder that reads it."""

from dataclasses import dataclass

import pytest

from timing import Recorder, Settings

MS = 1_000_000


@dataclass
class Clock:
    """Nanoseconds that pass only when told to."""

    now_ns: int = 5_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def wait_ms(self, milliseconds: float) -> None:
        self.now_ns += round(milliseconds * MS)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(clock: Clock) -> Recorder:
    return Recorder(
        Settings(slowest=3, slowest_minutes=1, stale_seconds=30), clock=clock, wall_clock=lambda: 1_700_000_000.0
    )
