"""Tasks are done once, by the first thread that is free."""

from __future__ import annotations

import subprocess
import sys
import threading
import weakref
from functools import partial
from pathlib import Path

import pytest

from support.worker_pool import Task, WorkerPool

ROOT = Path(__file__).resolve().parents[3]


def test_without_helpers_the_one_who_asks_does_the_work() -> None:
    pool = WorkerPool("test", helpers=0)
    assert pool.offer(Task(threading.get_ident)).result() == threading.get_ident()


def test_a_helper_does_what_nobody_has_asked_for_yet() -> None:
    pool = WorkerPool("test", helpers=1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        go_on.wait(10)
        return threading.get_ident()

    task = pool.offer(Task(work))
    assert begun.wait(10)
    assert not task.done
    go_on.set()
    assert task.result() != threading.get_ident()
    assert task.done
    pool.stop(10)


def test_work_is_done_once() -> None:
    calls: list[int] = []
    pool = WorkerPool("test", helpers=4)
    tasks = [pool.offer(Task(lambda number=number: calls.append(number))) for number in range(500)]  # type: ignore[misc]
    for task in tasks:
        task.result()
    assert sorted(calls) == list(range(500))
    pool.stop(10)


def test_what_the_work_raises_reaches_the_one_who_asks() -> None:
    def work() -> None:
        raise ValueError("no")

    pool = WorkerPool("test", helpers=1)
    task = pool.offer(Task(work))
    with pytest.raises(ValueError, match="no"):
        task.result()
    pool.stop(10)


def test_after_the_end_tasks_are_left_to_those_who_ask() -> None:
    before = set(threading.enumerate())
    pool = WorkerPool("test", helpers=2)
    pool.offer(Task(lambda: 1)).result()
    pool.stop(10)
    assert set(threading.enumerate()) <= before
    assert pool.offer(Task(threading.get_ident)).result() == threading.get_ident()
    pool.stop(10)


class Pixels:
    """Something whose end can be seen."""


def test_work_that_was_done_elsewhere_is_let_go_while_the_helpers_are_busy() -> None:
    pool = WorkerPool("test", helpers=1)
    begun, go_on = threading.Event(), threading.Event()

    def block() -> None:
        begun.set()
        go_on.wait(10)

    pool.offer(Task(block))
    assert begun.wait(10)
    pixels = Pixels()
    held = weakref.ref(pixels)
    task = pool.offer(Task(partial(id, pixels)))
    del pixels
    task.result()
    assert held() is None
    go_on.set()
    pool.stop(10)


def test_a_helper_that_does_not_end_does_not_keep_the_process() -> None:
    program = (
        "import threading; from support.worker_pool import Task, WorkerPool; begun = threading.Event(); "
        "pool = WorkerPool('test', helpers=1); "
        "pool.offer(Task(lambda: (begun.set(), threading.Event().wait()))); begun.wait(10); pool.stop(0.1)"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False, cwd=ROOT).returncode == 0
