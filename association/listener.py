"""Wakes the watcher when a connection reaches the DICOM server, without scanning descriptors all the time.

epoll on the listening socket alone does not do: even edge-triggered, epoll_wait asks the socket again before it
reports, and by then the DICOM server has mostly accepted the connection, so that nothing is reported (measured: on two
processors nearly always). A listening socket has no other condition to report. What the kernel does send for each
connection, whoever accepts it, is SIGIO to the owner of a descriptor with O_ASYNC (man fcntl(2), "Managing signals"):
here to the watcher's thread alone, which blocks the signal and reads it as a descriptor.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import struct
import termios
import threading

_F_SETOWN_EX = 15  # asm-generic/fcntl.h; Python has no name for it
_F_OWNER_TID = 0
_SFD_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_SIGSET_BYTES = 128  # glibc and musl
_SIGINFO_BYTES = 128


class ConnectionAlarm:
    """A descriptor that becomes readable when a connection reaches one of the listening sockets.

    Made and used by one thread only, the one that is to be told. SIGIO rather than a real-time signal: it is a single
    bit, so it cannot overflow, and what was missed is found by looking at the descriptors anyway.

    Raises:
        OSError: no signalfd.
    """

    def __init__(self) -> None:
        # Before any socket names this thread as its owner: the default action of SIGIO ends the process.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGIO})
        # A sigset_t is an array of unsigned long, and SIGIO's bit is in the first.
        bits = struct.pack("@L", 1 << (signal.SIGIO - 1)).ljust(_SIGSET_BYTES, b"\0")
        libc = ctypes.CDLL(None, use_errno=True)
        self.fd = int(libc.signalfd(-1, bits, _SFD_FLAGS))
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"signalfd: {os.strerror(code)}")

    def arm(self, listener_fd: int) -> None:
        """Asks the kernel for the signal, for this thread only.

        Raises:
            OSError: the number is no socket (any more).
        """
        fcntl.fcntl(listener_fd, _F_SETOWN_EX, struct.pack("ii", _F_OWNER_TID, threading.get_native_id()))
        # FIOASYNC changes this one flag in the kernel; F_GETFL and F_SETFL would race with whoever changes another.
        fcntl.ioctl(listener_fd, termios.FIOASYNC, struct.pack("i", 1))

    def disarm(self, listener_fd: int) -> None:
        """Asks for no more signals, so that the socket is as it was found."""
        with contextlib.suppress(OSError):
            fcntl.ioctl(listener_fd, termios.FIOASYNC, struct.pack("i", 0))

    def drain(self) -> None:
        """Reads what is pending, so that the descriptor is no longer readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 4 * _SIGINFO_BYTES)

    def close(self) -> None:
        """Closes the descriptor.

        The signal stays blocked: the thread is about to end, and pending signals end with it.
        """
        os.close(self.fd)
