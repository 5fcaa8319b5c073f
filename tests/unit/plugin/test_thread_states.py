"""Python's state of a thread that is not Python's own."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import pytest

from plugin import thread_states

LIBC = ctypes.CDLL(None)
WRITE = ctypes.CFUNCTYPE(ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
CLOSE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class StreamFunctions(ctypes.Structure):
    """`cookie_io_functions_t` of stdio.h."""

    _fields_ = (("read", ctypes.c_void_p), ("write", WRITE), ("seek", ctypes.c_void_p), ("close", CLOSE))


def run_on_one_native_thread(first: Callable[[], None], second: Callable[[], None]) -> None:
    """Calls both on a thread that the C library makes, one after the other.

    ctypes enters Python as Orthanc's plugin does. The thread runs fclose(), which calls the two functions of a stream
    of ours.
    """

    def write(_cookie: int | None, _content: int | None, size: int) -> int:
        first()
        return size

    def close(_cookie: int | None) -> int:
        second()
        return 0

    functions = StreamFunctions(None, WRITE(write), None, CLOSE(close))
    LIBC.fopencookie.restype = ctypes.c_void_p
    stream = ctypes.c_void_p(LIBC.fopencookie(None, b"w", functions))
    assert LIBC.fputs(b"something to write", stream) >= 0
    thread = ctypes.c_ulong()
    assert not LIBC.pthread_create(ctypes.byref(thread), None, LIBC.fclose, stream)
    assert not LIBC.pthread_join(thread, None)


@pytest.fixture(autouse=True)
def no_threads_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_states, "_kept", set())


@pytest.mark.parametrize("kept", [False, True])
def test_what_a_thread_knows_survives_between_callbacks_if_its_state_is_kept(*, kept: bool) -> None:
    local = threading.local()
    found: list[bool] = []

    def first() -> None:
        local.known = True
        if kept:
            thread_states.keep()
            thread_states.keep()

    run_on_one_native_thread(first, lambda: found.append(hasattr(local, "known")))
    assert found == [kept]


def test_no_more_states_are_kept_than_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_states, "_MAX_THREADS", 0)
    local = threading.local()
    found: list[bool] = []

    def first() -> None:
        local.known = True
        thread_states.keep()

    run_on_one_native_thread(first, lambda: found.append(hasattr(local, "known")))
    assert found == [False]
