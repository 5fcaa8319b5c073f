"""Sets TCP_NODELAY for DCMTK: the environment variable that it reads for each connection.

DCMTK (dcmnet, dultrans.cc and dulfsm.cc; the same in 3.6.7 and 3.6.9) calls getenv("TCP_NODELAY") for each association
it accepts and for each one it requests, and reads the value with sscanf("%d"): a number other than 0 switches Nagle's
algorithm (RFC 896) off, 0 leaves it on, and what is no number is ignored, with a warning for each association. So
the variable serves the SCP and the SCU side alike, and it must be in the environment before the DICOM server starts,
which is where a plugin is loaded.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import MutableMapping

from .settings import Settings

VARIABLE = "TCP_NODELAY"
# What sscanf("%d") takes: white space, a sign, decimal digits; whatever follows them is not looked at.
_SCANF_D = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)", re.ASCII)


def parse(value: str) -> int | None:
    """Returns the number that DCMTK reads from the variable's value, or None where it would keep its default."""
    match = _SCANF_D.match(value)
    if match is None:
        return None
    # glibc saturates at 64 bits and stores the low 32: 4294967296 is 0 to DCMTK, and leaves Nagle on.
    saturated = max(-(2**63), min(2**63 - 1, int(match[1])))
    return ctypes.c_int(saturated & 0xFFFFFFFF).value


def apply(settings: Settings, environ: MutableMapping[str, str] = os.environ) -> str:
    """Makes DCMTK send small segments at once; an operator's own value stays as it is.

    Must run in the DICOM server's process before that starts: os.environ calls putenv, and getenv reads it.

    Args:
        settings: the section; does nothing where it or NoDelay is off.
        environ: where to set it.

    Returns:
        One line for the log that says what was done.
    """
    own = environ.get(VARIABLE)
    if not (settings.enable and settings.no_delay):
        kept = "not set" if own is None else f"{own!r}, as it was"
        return f"NoDelay is off: {VARIABLE} is {kept}"
    if own is None:
        environ[VARIABLE] = "1"
        return f"NoDelay: {VARIABLE}=1 set for DCMTK, incoming and outgoing associations"
    number = parse(own)
    if number is None:
        return (
            f"NoDelay: {VARIABLE}={own!r} was set before and is kept, but DCMTK ignores it (not a number): set it to 1"
        )
    if number == 0:
        return (
            f"NoDelay: {VARIABLE}={own!r} was set before and is kept: Nagle's algorithm stays on, responses may "
            "stall 40 ms"
        )
    return f"NoDelay: {VARIABLE}={own!r} was set before and is kept: Nagle's algorithm is off"
