"""Reads the memory of this process from /proc and from glibc's malloc; without either, its values are None."""

import ctypes
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

_log = logging.getLogger(__name__)

_STATUS: Final = Path("/proc/self/status")
_STATUS_LINE: Final = re.compile(r"^(VmRSS|VmHWM):\s+(\d+) kB$", re.MULTILINE)
_HEAP: Final = re.compile(rb"<heap nr=")
_MALLINFO2_FIELDS: Final = (
    *("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
)
ENVIRONMENT_KEY: Final = "MALLOC_ARENA_MAX"


class MallInfo2(ctypes.Structure):
    """`struct mallinfo2` of malloc.h, glibc 2.33."""

    _fields_ = [(name, ctypes.c_size_t) for name in _MALLINFO2_FIELDS]


class MemorySnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of this process in bytes; None is unknown.

    `arenas` are malloc's pools, `heap_bytes` what they hold, `heap_free_bytes` what of that is free and kept by
    malloc, `mapped_bytes` large blocks that have a mapping of their own. `malloc_arena_max` is what Orthanc told malloc
    (MallocArenaMax; 0: nothing, then `environment` counts: the variable MALLOC_ARENA_MAX; without it glibc takes eight
    arenas a core). `trimmed_bytes` is what resident memory was smaller after `trims` calls of malloc_trim.
    """

    resident_bytes: int | None
    peak_resident_bytes: int | None
    arenas: int | None
    heap_bytes: int | None
    heap_free_bytes: int | None
    mapped_bytes: int | None
    malloc_arena_max: int
    environment: str | None
    trims: int
    trimmed_bytes: int


class Memory:
    """Reads and trims this process's memory; safe to use from any thread.

    Args:
        malloc_arena_max: Orthanc's MallocArenaMax.
        library: the C library; None is this process's own.
        environment: where MALLOC_ARENA_MAX may be.
    """

    def __init__(
        self,
        malloc_arena_max: int,
        *,
        library: Callable[[], ctypes.CDLL] = lambda: ctypes.CDLL(None),
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._malloc_arena_max = malloc_arena_max
        self._environment = environment.get(ENVIRONMENT_KEY)
        self._lock = threading.Lock()
        self._trims = self._trimmed_bytes = 0
        self._libc = _glibc(library)

    def snapshot(self) -> MemorySnapshot:
        """Return what is held now."""
        resident, peak = _resident()
        info = None if self._libc is None else self._libc.mallinfo2()
        with self._lock:
            trims, trimmed_bytes = self._trims, self._trimmed_bytes
        return MemorySnapshot(
            resident_bytes=resident,
            peak_resident_bytes=peak,
            arenas=None if self._libc is None else _arenas(self._libc),
            heap_bytes=None if info is None else info.arena,
            heap_free_bytes=None if info is None else info.fordblks,
            mapped_bytes=None if info is None else info.hblkhd,
            malloc_arena_max=self._malloc_arena_max,
            environment=self._environment,
            trims=trims,
            trimmed_bytes=trimmed_bytes,
        )

    @property
    def can_trim(self) -> bool:
        """Whether there is glibc's malloc_trim."""
        return self._libc is not None

    def trim(self) -> int:
        """Give free memory back to the system; other threads' malloc may wait while their arena is being trimmed.

        Returns:
            By how many bytes resident memory is smaller now; 0 where malloc is not glibc's.
        """
        if self._libc is None:
            return 0
        before, _ = _resident()
        self._libc.malloc_trim(0)
        after, _ = _resident()
        gained = max(0, (before or 0) - (after or 0))
        with self._lock:
            self._trims += 1
            self._trimmed_bytes += gained
        return gained


class Trimmer:
    """Trims when the server is idle and something was stored since the last time.

    Args:
        memory: what trims.
        idle_seconds: for how long nothing has been stored.
        every_seconds: how often `run` is called: what was stored longer ago has been trimmed after.
    """

    def __init__(self, memory: Memory, idle_seconds: Callable[[], float], every_seconds: float) -> None:
        self._memory = memory
        self._idle_seconds = idle_seconds
        self._every_seconds = every_seconds
        self._stored_since_trim = False

    def run(self) -> None:
        """Trim if it is time."""
        idle = self._idle_seconds()
        if idle < self._every_seconds:
            self._stored_since_trim = True
        if not self._stored_since_trim or idle < min(_IDLE_S, self._every_seconds):
            return
        self._stored_since_trim = False
        gained = self._memory.trim()
        _log.info("malloc_trim gave %.1f MB back to the system", gained / 1e6)


_IDLE_S: Final = 1.0
# Shorter pauses are those between two instances of one sender.


def _glibc(library: Callable[[], ctypes.CDLL]) -> ctypes.CDLL | None:
    """Return the C library with its functions declared; None and a line in the log unless it is glibc 2.33 or later."""
    try:
        libc = library()
        libc.mallinfo2.restype = MallInfo2
        libc.mallinfo2.argtypes = ()
        libc.malloc_trim.argtypes = (ctypes.c_size_t,)
        libc.malloc_info.argtypes = (ctypes.c_int, ctypes.c_void_p)
        libc.open_memstream.restype = ctypes.c_void_p
        libc.open_memstream.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
        libc.fclose.argtypes = libc.free.argtypes = (ctypes.c_void_p,)
        libc.free.restype = None
    except (AttributeError, OSError, TypeError) as error:
        _log.info("malloc's figures are unknown and it cannot be trimmed: glibc 2.33 or later is needed (%s)", error)
        return None
    return libc


def _arenas(libc: ctypes.CDLL) -> int | None:
    """Return how many arenas malloc has, counted in what malloc_info writes (XML, into memory: no file is made)."""
    text, size = ctypes.c_void_p(), ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
    if not stream:
        return None
    failed = libc.malloc_info(0, stream)
    libc.fclose(stream)
    try:
        return None if failed or not text.value else len(_HEAP.findall(ctypes.string_at(text.value, size.value)))
    finally:
        libc.free(text)


def _resident() -> tuple[int | None, int | None]:
    """Return VmRSS and VmHWM in bytes; None where there is no /proc."""
    try:
        found = {key: int(value) * 1024 for key, value in _STATUS_LINE.findall(_STATUS.read_text())}
    except OSError:
        return None, None
    return found.get("VmRSS"), found.get("VmHWM")
