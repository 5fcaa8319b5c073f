"""Tasks are done once, by whoever comes first."""

from __future__ import annotations

import threading

import pytest

from transcoder.crew import Crew, Task


def test_without_helpers_the_one_who_asks_does_the_work() -> None:
    crew = Crew(helpers=0)
    assert crew.help_with(Task(threading.get_ident)).result() == threading.get_ident()


def test_a_helper_does_what_nobody_has_asked_for_yet() -> None:
    crew = Crew(helpers=1)
    begun, go_on = threading.Event(), threading.Event()

    def work() -> int:
        begun.set()
        go_on.wait(10)
        return threading.get_ident()

    task = crew.help_with(Task(work))
    assert begun.wait(10)
    assert not task.done
    go_on.set()
    assert task.result() != threading.get_ident()
    assert task.done
    crew.stop(10)


def test_work_is_done_once() -> None:
    calls: list[int] = []
    crew = Crew(helpers=4)
    tasks = [crew.help_with(Task(lambda number=number: calls.append(number))) for number in range(500)]  # type: ignore[misc]
    for task in tasks:
        task.result()
    assert sorted(calls) == list(range(500))
    crew.stop(10)


def test_what_the_work_raises_reaches_the_one_who_asks() -> None:
    def work() -> None:
        raise ValueError("no")

    crew = Crew(helpers=1)
    task = crew.help_with(Task(work))
    with pytest.raises(ValueError, match="no"):
        task.result()
    crew.stop(10)


def test_after_the_end_tasks_are_left_to_those_who_ask() -> None:
    before = set(threading.enumerate())
    crew = Crew(helpers=2)
    crew.help_with(Task(lambda: 1)).result()
    crew.stop(10)
    assert set(threading.enumerate()) <= before
    assert crew.help_with(Task(threading.get_ident)).result() == threading.get_ident()
    crew.stop(10)
