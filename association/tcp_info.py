"""Decodes the fields of Linux's `struct tcp_info` that tell when a peer's bytes arrived.

See linux/tcp.h, and TCP_INFO in man tcp(7).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

ESTABLISHED = 1
CLOSE_WAIT = 8
LISTEN = 10

# The structure only ever grew at its end, so offsets hold for every kernel that has the field: bytes_received since 4.1
# (offset 128), data_segs_out since 4.6 (offset 156).
SIZE = 160
_STATE = struct.Struct("=B")
_FIELDS = struct.Struct("=24xI16xI4xI72xQ20xI")


class TcpInfo(NamedTuple):
    """One reading of a connection's counters."""

    state: int
    unacked: int  # of a listening socket: connections that wait for accept()
    last_data_sent_ms: int  # since then; in steps of the kernel's tick (4 ms where HZ is 250)
    last_data_received_ms: int
    bytes_received: int
    data_segments_sent: int  # grows with each response, whatever its size; retransmissions count


class TooShortError(ValueError):
    """The kernel's structure ends before the fields that we read: older than Linux 4.6."""


def decode(raw: bytes | bytearray | memoryview) -> TcpInfo:
    """Decodes what getsockopt(TCP_INFO) gave.

    Raises:
        TooShortError: fewer than `SIZE` bytes.
    """
    if len(raw) < SIZE:
        raise TooShortError(f"tcp_info has {len(raw)} bytes, expected at least {SIZE} (Linux 4.6)")
    (state,) = _STATE.unpack_from(raw)
    return TcpInfo(state, *_FIELDS.unpack_from(raw))
