"""malloc's thresholds are changed once, and not against the operator."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.orthanc_process import BUNDLE
from plugin import allocator

# Half a megabyte taken, touched and given back 200 times, as codecs do; how many page faults that takes.
FAULTS = """
import resource, sys
from plugin import allocator
if sys.argv[1] == "keep":
    assert allocator.keep_freed_memory()
import ctypes
malloc, free, memset = (getattr(ctypes.CDLL(None), name) for name in ("malloc", "free", "memset"))
malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(200):
    blocks = [malloc(512 << 10) for _ in range(6)]
    for block in blocks:
        memset(block, 1, 512 << 10)
    for block in blocks:
        free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", FAULTS, how], cwd=BUNDLE, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's thresholds")
def test_memory_that_was_freed_is_used_again() -> None:
    assert faults("keep") < 5000
    assert faults("leave") > 50_000


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_operator_has_set_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert not allocator.keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda _name: object())
    assert not allocator.keep_freed_memory()
