"""Limits, ingest first, and a disk that is nearly full."""

import logging
import os
import threading
from pathlib import Path

import pytest

from deferred_delete import Settings
from deferred_delete.storage.free_disk import DiskPressure, FreeDisk, free_percent
from deferred_delete.worker.throttle import IngestWatch, Throttle


class Time:
    """A clock that a wait moves on."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.pressed = False
        self.halted = False

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> bool:
        if not self.halted:
            self.now_s += seconds
        return self.halted


@pytest.fixture
def clock() -> Time:
    return Time()


def make(clock: Time, **settings: float) -> tuple[Throttle, IngestWatch]:
    ingest = IngestWatch(clock)
    return Throttle(Settings(**settings), clock.wait, ingest, lambda: clock.pressed, clock), ingest  # type: ignore[arg-type]


def spent(clock: Time, throttle: Throttle, files: int, size_bytes: int = 0, busy_s: float = 0.0) -> float:
    before = clock.now_s
    for _ in range(files):
        clock.now_s += busy_s
        throttle.after_file(size_bytes, busy_s)
    return clock.now_s - before


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({}, 0.0),
        ({"files_per_second": 100}, 10.0),
        ({"files_per_second": 100_000}, 0.01),  # pauses too short to sleep are saved up, not lost
        ({"megabytes_per_second": 50}, 10.0),
        ({"files_per_second": 100, "megabytes_per_second": 25}, 20.0),  # the stricter one
        ({"throttle_delay_ms": 1}, 1.0),
    ],
)
def test_a_thousand_files_of_half_a_megabyte_take(clock: Time, settings: dict[str, float], seconds: float) -> None:
    throttle, _ = make(clock, **settings)
    assert spent(clock, throttle, 1000, 500_000) == pytest.approx(seconds, abs=0.003)


def test_the_time_that_the_unlinks_themselves_take_counts_towards_the_limit(clock: Time) -> None:
    throttle, _ = make(clock, files_per_second=100)
    assert spent(clock, throttle, 1000, busy_s=0.008) == pytest.approx(10.0, abs=0.02)
    assert spent(clock, throttle, 1000, busy_s=0.02) == pytest.approx(20.0, abs=0.02)


def test_during_ingest_a_tenth_of_the_time_is_worked_and_never_less(clock: Time) -> None:
    throttle, ingest = make(clock)
    before = clock.now_s
    for _ in range(1000):
        ingest.note()
        clock.now_s += 0.001
        throttle.after_file(0, 0.001)
    assert clock.now_s - before == pytest.approx(10.0, rel=0.05)
    assert throttle.yielding
    ingest.note()
    assert spent(clock, throttle, 1, busy_s=60.0) - 60.0 <= 0.5


def test_without_ingest_nothing_is_given_up(clock: Time) -> None:
    throttle, ingest = make(clock)
    ingest.note()
    clock.now_s += 1.0
    assert spent(clock, throttle, 100) == 0.0
    assert not throttle.yielding


def test_a_pressed_disk_lifts_every_limit_also_in_the_middle_of_a_pause(clock: Time) -> None:
    throttle, ingest = make(clock, files_per_second=0.01, throttle_delay_ms=1000)
    clock.pressed = True
    ingest.note()
    assert spent(clock, throttle, 10) == 0.0
    clock.pressed = False
    waited: list[float] = []

    def fills_up(seconds: float) -> bool:
        waited.append(seconds)
        clock.pressed = True
        return False

    slow = Throttle(Settings(files_per_second=0.001), fills_up, ingest, lambda: clock.pressed, clock)
    slow.after_file(0, 0.0)
    assert waited == [5.0]


def test_a_halt_ends_a_pause(clock: Time) -> None:
    throttle, _ = make(clock, files_per_second=0.01)
    clock.halted = True
    assert spent(clock, throttle, 1) == 0.0


def test_pressure_begins_below_the_minimum_ends_a_little_above_and_says_so(
    clock: Time, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    free = [50.0]
    pressed = DiskPressure(tmp_path, 10, free=lambda _: free[0], monotonic=clock)
    seen = []
    for percent in (50.0, 10.0, 9.9, 10.5, 11.0, 10.5):
        free[0] = percent
        clock.now_s += 5.0
        seen.append(pressed())
    assert seen == [False, False, True, True, False, False]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "the storage disk has 9.9 % left, less than MinimumFreeDiskPercent (10)" in caplog.text


def test_a_disk_that_cannot_be_asked_is_not_pressed_and_one_that_need_not_be_is_not_asked(
    clock: Time, tmp_path: Path
) -> None:
    def gone(_: Path) -> float:
        raise OSError("Stale file handle")

    assert not DiskPressure(tmp_path, 10, free=gone, monotonic=clock)()
    assert not DiskPressure(tmp_path, 0, free=lambda _: pytest.fail("asked"), monotonic=clock)()  # type: ignore[arg-type]
    assert 0 <= free_percent(tmp_path) <= 100


def test_the_room_left_is_told_and_a_disk_that_hangs_makes_nobody_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    free = FreeDisk(tmp_path, monotonic=lambda: now[0])
    known = free()
    assert known is not None
    assert known > 0
    hangs, ask = threading.Event(), os.statvfs
    monkeypatch.setattr(os, "statvfs", lambda path: hangs.wait(30) and ask(path))
    now[0] += 10
    assert free() == known
    now[0] += 10
    assert free() == known  # no second thread waits for the disk
    assert [thread.name for thread in threading.enumerate()].count("deferred-delete-disk") == 1
    hangs.set()


def test_a_disk_that_is_gone_leaves_nothing_to_tell(tmp_path: Path) -> None:
    assert FreeDisk(tmp_path / "nowhere")() is None
