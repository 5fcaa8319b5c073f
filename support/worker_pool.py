"""A few helper threads. A task is done by the first that is free: a helper, or the thread that needs its result.

Not concurrent.futures: Python waits for its threads without end when it exits. And a cancelled future keeps what
it holds, the pixels of an instance, until a thread is free to drop it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Codecs scale to a few cores, and the thread that asks works too.
_MAX_HELPERS = 7


class Task(Generic[T]):
    """A piece of work that is done once, by the first thread that claims it."""

    __slots__ = ("_claim", "_done", "_error", "_result", "_work")

    def __init__(self, work: Callable[[], T]) -> None:
        self._work: Callable[[], T] | None = work
        self._claim = threading.Lock()
        self._done = threading.Event()
        self._result: T | None = None
        self._error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether the work has ended, and what it held is released."""
        return self._done.is_set()

    def run_unless_claimed(self) -> None:
        """Does the work here, unless another thread does it or has done it."""
        if not self._claim.acquire(blocking=False):
            return
        work, self._work = self._work, None  # releases what it holds, the pixels of an instance
        assert work is not None
        try:
            self._result = work()
        except Exception as error:  # noqa: BLE001 - raised again by `result`
            self._error = error.with_traceback(None)  # its frames would hold this task and the work
        finally:
            self._done.set()

    def result(self) -> T:
        """The result. Does the work here unless it has begun elsewhere, and waits for it. Can be called once.

        Raises:
            Exception: whatever the work raised.
        """
        self.run_unless_claimed()
        self._done.wait()
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # or it would hold this frame, which holds it, and with them the pixels
        return self._result  # type: ignore[return-value]


class WorkerPool:
    """Helper threads, made when they are first needed, one fewer than there are cores.

    Without helpers, or after `stop`, each task is done by the thread that asks for its result.
    """

    def __init__(self, name: str, helpers: int | None = None) -> None:
        """Start nothing yet.

        Args:
            name: what the threads are called, followed by their number.
            helpers: how many; None for as many as the cores can use.
        """
        self._name = name
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.helpers = min(max(1, cores - 1), _MAX_HELPERS) if helpers is None else helpers
        self._tasks: queue.SimpleQueue[Task[object] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._stopped = False

    def offer(self, task: Task[T]) -> Task[T]:
        """Offers the task to the helpers: one does it if it is free before the result is asked for."""
        with self._lock:
            if self._stopped or not self.helpers:
                return task
            if not self._threads:
                self._threads = [
                    threading.Thread(target=self._help, name=f"{self._name}-{number}", daemon=True)
                    for number in range(self.helpers)
                ]
                for thread in self._threads:
                    thread.start()
        self._tasks.put(task)  # type: ignore[arg-type]
        return task

    def stop(self, deadline_s: float) -> None:
        """Ends the helpers after their present tasks. Whoever needs the result of another task then does it."""
        with self._lock:
            self._stopped = True
            threads, self._threads = self._threads, []
        for _ in threads:
            self._tasks.put(None)
        ends = time.monotonic() + deadline_s
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _help(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run_unless_claimed()
            del task  # while this thread waits for the next
