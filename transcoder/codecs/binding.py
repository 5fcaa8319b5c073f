"""Loads a codec whose C library the process already has in another version."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def own_libraries_first() -> Iterator[None]:
    """Extension modules imported inside find symbols in their own libraries before the process's.

    Orthanc is linked to the system's libjpeg. Without this, the wheel's libjpeg-turbo binds to that older one's
    functions, whose structures differ: the process dies of a segmentation fault at the first image (seen with Orthanc
    1.10.1). RTLD_DEEPBIND, dlopen(3), turns the order round; it exists in glibc only, and elsewhere nothing is changed.

    Only for libraries in C that free what they allocate: in C++ it would split the standard library's global objects.
    """
    deep = getattr(os, "RTLD_DEEPBIND", 0)
    if not deep or not hasattr(sys, "setdlopenflags"):
        yield
        return
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | deep)
    try:
        yield
    finally:
        sys.setdlopenflags(before)
