"""Limits of memory, files, processes and time, which the worker sets for itself before it loads a decoder.

For Linux; what another system lacks is left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import resource
import signal

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_DUMPABLE = 4
_OOM_SCORE = "500"


def confine(memory_bytes: int) -> None:
    """Limits memory, forbids cores, files and new privileges, and ignores the signals that end Orthanc.

    Raises:
        OSError, ValueError: the limits cannot be set.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its socket does
    for number in (signal.SIGALRM, signal.SIGXCPU, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)  # these end it, even within a library
    with contextlib.suppress(OSError):
        # The kernel, short of memory, takes this process before Orthanc.
        descriptor = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        try:
            os.write(descriptor, _OOM_SCORE.encode())
        finally:
            os.close(descriptor)
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)


def seal(highest_descriptor: int) -> None:
    """From now on no file, socket or process can be opened (RLIMIT_NPROC does not bind root)."""
    _limit(resource.RLIMIT_NOFILE, highest_descriptor + 1)
    _limit(resource.RLIMIT_NPROC, 0)


def limit_time(budget_s: float) -> None:
    """Limits one decoding: CPU time, to the next second, and elapsed time. Beyond them the kernel ends this process.

    The parent has a limit too, which ends sooner. This one is for when the parent is gone.
    """
    usage = resource.getrusage(resource.RUSAGE_SELF)
    used = math.ceil(usage.ru_utime + usage.ru_stime + budget_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used, resource.getrlimit(resource.RLIMIT_CPU)[1]))
    signal.setitimer(signal.ITIMER_REAL, budget_s + 1)


def end_time_limit() -> None:
    """Stops the timer: nothing is being decoded."""
    signal.setitimer(signal.ITIMER_REAL, 0)


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(what, (value, value))
