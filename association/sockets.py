"""Finds the DICOM server's sockets by descriptor number, reads their counters and sets TCP_QUICKACK.

The numbers belong to DCMTK. We never own them: no socket object (its destructor would close DCMTK's connection), no dup
(it would keep the connection open after DCMTK's close, and the peer would wait for an end that does not come). A system
call by number borrows the connection for its own duration, microseconds, and a number that has been closed or reused
since is harmless: on no socket the call fails (EBADF, ENOTSOCK, EOPNOTSUPP), on another TCP connection TCP_QUICKACK
means a few acknowledgements more and changes no data.

The calls go through ctypes.PyDLL, which keeps the GIL: none of them blocks, and letting the GIL go for a microsecond
could mean waiting five milliseconds (sys.getswitchinterval) to get it back from a callback that is busy.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from collections.abc import Collection, Iterator
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from . import tcp_info
from .tcp_info import TcpInfo

_SO_COOKIE = 57  # asm-generic/socket.h, since Linux 4.6: a number that no other socket gets until the next boot
_TCP_QUICKACK = 12  # linux/tcp.h; Python has the name on Linux only
_TCP_INFO = 11
_PORT = struct.Struct("!2xH")  # sockaddr_in and sockaddr_in6 begin alike: family, then the port in network order
OPEN_STATES = frozenset({tcp_info.ESTABLISHED, tcp_info.CLOSE_WAIT})
_DESCRIPTORS = Path("/proc/self/fd")


class Role(Enum):
    """What a socket is to the DICOM server."""

    LISTENER = "listener"
    INCOMING = "incoming"
    OUTGOING = "outgoing"


class FoundSocket(NamedTuple):
    """One socket as a scan saw it."""

    fd: int
    cookie: int  # identity of the socket: unlike the number it is never reused
    role: Role
    info: TcpInfo


class RawSockets:
    """Socket calls by number, with buffers of its own: one instance per thread.

    Raises:
        OSError: the C library has no such calls (not a Linux).
    """

    def __init__(self) -> None:
        # The attributes of an object from PyDLL(None) are made anew for each library object, so argtypes are ours
        # alone.
        libc = ctypes.PyDLL(None)
        number, pointer = ctypes.c_int, ctypes.c_void_p
        self._getsockopt, self._setsockopt = libc.getsockopt, libc.setsockopt
        self._getsockname, self._getpeername = libc.getsockname, libc.getpeername
        self._getsockopt.argtypes = [number, number, number, pointer, pointer]
        self._setsockopt.argtypes = [number, number, number, pointer, ctypes.c_uint]
        self._getsockname.argtypes = self._getpeername.argtypes = [number, pointer, pointer]
        self._one = ctypes.c_int(1)
        self._length = ctypes.c_uint()
        self._buffer = ctypes.create_string_buffer(512)
        self._view = memoryview(self._buffer)
        # Addresses once, not for each call: the objects above live as long as this one.
        self._one_at, self._length_at = ctypes.addressof(self._one), ctypes.addressof(self._length)
        self._buffer_at = ctypes.addressof(self._buffer)

    def quick_ack(self, fd: int) -> bool:
        """Ends delayed-acknowledgement mode, and sends the acknowledgement that waits, if one does.

        Returns:
            False where the number is no TCP socket (any more).
        """
        return bool(self._setsockopt(fd, socket.IPPROTO_TCP, _TCP_QUICKACK, self._one_at, 4) == 0)

    def info(self, fd: int) -> TcpInfo | None:
        """Returns the kernel's counters, or None where the number is no TCP socket (any more)."""
        length = self._option(fd, socket.IPPROTO_TCP, _TCP_INFO, 512)
        return tcp_info.decode(self._view[:length]) if length >= tcp_info.SIZE else None

    def cookie(self, fd: int) -> int | None:
        """Returns the identity of the socket behind a number, or None where there is none."""
        length = self._option(fd, socket.SOL_SOCKET, _SO_COOKIE, 8)
        return int.from_bytes(self._view[:8].tobytes(), sys.byteorder) if length == 8 else None

    def local_port(self, fd: int) -> int | None:
        """Returns the local TCP or UDP port of an IPv4 or IPv6 socket, or None."""
        return self._port(self._getsockname, fd)

    def peer_port(self, fd: int) -> int | None:
        """Returns the remote port, or None where it is not connected."""
        return self._port(self._getpeername, fd)

    def scan(self, dicom_port: int, modality_ports: Collection[int] = ()) -> Iterator[FoundSocket]:
        """Finds the DICOM server's sockets among all descriptors of this process.

        Args:
            dicom_port: local port of the listening socket and of the associations it accepted, IPv4 and IPv6.
            modality_ports: remote ports of the associations that this process opens.
        """
        for name in os.listdir(_DESCRIPTORS):  # noqa: PTH208 - names, not paths: this runs for each new association
            fd = int(name)
            local_port = self.local_port(fd)
            if not local_port:  # no socket, a socket of another family, or not bound
                continue
            if local_port != dicom_port and not (modality_ports and self.peer_port(fd) in modality_ports):
                continue
            found = self._found(fd, incoming=local_port == dicom_port)
            if found is not None:
                yield found

    def _found(self, fd: int, *, incoming: bool) -> FoundSocket | None:
        info, cookie = self.info(fd), self.cookie(fd)
        if info is None or cookie is None:  # UDP, or closed since
            return None
        if info.state == tcp_info.LISTEN:
            return FoundSocket(fd, cookie, Role.LISTENER, info) if incoming else None
        if info.state not in OPEN_STATES:
            return None
        return FoundSocket(fd, cookie, Role.INCOMING if incoming else Role.OUTGOING, info)

    def _option(self, fd: int, level: int, option: int, size: int) -> int:
        """Fills the buffer; returns how many bytes the kernel wrote, or -1."""
        self._length.value = size
        if self._getsockopt(fd, level, option, self._buffer_at, self._length_at) != 0:
            return -1
        return self._length.value

    def _port(self, call: ctypes._NamedFuncPointer, fd: int) -> int | None:
        self._length.value = 128
        if call(fd, self._buffer_at, self._length_at) != 0:
            return None
        family = int.from_bytes(self._view[:2].tobytes(), sys.byteorder)
        if family not in {socket.AF_INET, socket.AF_INET6}:
            return None
        (port,) = _PORT.unpack_from(self._buffer)
        return int(port)
