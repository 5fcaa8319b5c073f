"""Keeps Python's state of Orthanc's own threads from one callback to the next."""

from __future__ import annotations

import ctypes
import threading

# Orthanc has 50 threads for HTTP and four for DICOM unless told otherwise. A thread that ends leaves its state behind,
# some 20 KB, so there is a bound.
_MAX_THREADS = 256

_kept: set[int] = set()


def keep() -> None:
    """Keeps the calling thread's state for all callbacks to come; called from within one.

    The plugin enters Python by PyGILState_Ensure and leaves by PyGILState_Release, which count. When the count comes
    to nought the thread's state is deleted, and the next callback makes one anew: a stack that is mapped, touched and
    unmapped again, for which the kernel interrupts the other cores. One Ensure more, without a Release, and it stays.
    """
    ident = threading.get_ident()
    if ident in _kept or len(_kept) >= _MAX_THREADS:
        return
    _kept.add(ident)
    ctypes.pythonapi.PyGILState_Ensure()  # of PyDLL: Python's lock stays with us, as PyGILState_Ensure expects
