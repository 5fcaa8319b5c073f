"""Memory of this very process, and the clockwork around trimming."""

from __future__ import annotations

import ctypes
import logging
from typing import Any

import pytest

from timing import Memory, Ticker, Trimmer

BLOCK = 64 * 1024  # below malloc's threshold for mappings: such blocks live in an arena


def test_figures_of_this_process_are_plausible() -> None:
    found = Memory(5, environment={"MALLOC_ARENA_MAX": "2"}).snapshot()
    assert found.resident_bytes is not None
    assert found.peak_resident_bytes is not None
    assert 1_000_000 < found.resident_bytes <= found.peak_resident_bytes
    assert found.arenas is not None
    assert 1 <= found.arenas < 10_000
    assert found.heap_bytes is not None
    assert found.heap_free_bytes is not None
    assert 0 < found.heap_free_bytes < found.heap_bytes
    assert (found.malloc_arena_max, found.environment, found.trims) == (5, "2", 0)


def test_trimming_gives_back_what_a_block_at_the_top_had_kept() -> None:
    memory = Memory(0, environment={})
    libc = ctypes.CDLL(None)
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, (ctypes.c_void_p,)
    blocks = [libc.malloc(BLOCK) for _ in range(1000)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    for block in blocks[:-1]:  # the last one keeps free() from shrinking the heap by itself
        libc.free(ctypes.c_void_p(block))
    gained = memory.trim()
    libc.free(ctypes.c_void_p(blocks[-1]))
    assert gained > 20_000_000
    found = memory.snapshot()
    assert (found.trims, found.trimmed_bytes) == (1, gained)


def test_without_glibc_the_figures_are_unknown_and_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    def musl() -> Any:
        raise OSError("no such library")

    with caplog.at_level(logging.INFO):
        memory = Memory(5, library=musl, environment={})
        found = memory.snapshot()
        memory.snapshot()
    assert (found.arenas, found.heap_bytes, found.heap_free_bytes, found.mapped_bytes) == (None, None, None, None)
    assert found.resident_bytes is not None
    assert not memory.can_trim
    assert memory.trim() == 0
    assert len([record for record in caplog.records if "malloc" in record.message]) == 1


class CountingMemory:
    trims = 0

    def trim(self) -> int:
        self.trims += 1
        return 5


def test_trims_when_idle_and_only_after_something_was_stored() -> None:
    memory, idle = CountingMemory(), [0.0]
    trimmer = Trimmer(memory, lambda: idle[0], 60)  # type: ignore[arg-type]
    seen = []
    # Busy; idle since 0.5 s, perhaps between two instances; idle; idle all the time; a new instance 30 s ago.
    for seconds in (0, 0.5, 45, 105, 165, 30, 90):
        idle[0] = seconds
        trimmer.run()
        seen.append(memory.trims)
    assert seen == [0, 0, 1, 1, 1, 2, 2]


def test_actions_run_when_due_and_one_that_fails_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    now, ran = [0.0], []

    def fail() -> None:
        raise RuntimeError("no")

    ticker = Ticker([(5, lambda: ran.append(now[0])), (2, fail), (0, fail)], clock=lambda: now[0])
    for now[0] in range(12):
        ticker.run_due()
    assert ran == [5, 10]
    assert len(caplog.records) == 1
    now[0] = 1000.0
    assert ticker.run_due() == 2, "what was missed is not made up for"


def test_the_thread_starts_and_stops() -> None:
    ran: list[int] = []
    ticker = Ticker([(0.001, lambda: ran.append(1))])
    ticker.start()
    while not ran:
        pass
    assert ticker.stop(5)
    assert Ticker([]).stop(1)
