"""Decoders that crash, hang or lie, as their stream says. Loaded by the worker in place of the real ones."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
import stat
import sys
import time


class Panic(BaseException):
    """As pyo3 turns a panic in Rust into one."""


class Decoders:
    """Obeys the stream."""

    def decode(self, stream: bytes, request: object) -> bytes:  # noqa: PLR0911
        word = stream.split(b" ")[0].decode()
        size: int = request.frame_bytes  # type: ignore[attr-defined]
        match word:
            case "good":
                return b"\x07" * size
            case "short":
                return b"\x07" * (size - 1)
            case "hang":
                time.sleep(60)
            case "slow":
                time.sleep(0.05)
                return b"\x07" * size
            case "spin":
                while True:
                    pass
            case "segfault":
                ctypes.string_at(0)
            case "abort":
                os.abort()
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exit":
                os._exit(3)
            case "eat":
                return bytes(1 << 40)
            case "eat-below":  # as a library in C: no MemoryError of Python's
                mmap.mmap(-1, 1 << 40)
            case "recursion":
                return self.decode(stream, request)
            case "print":
                print("noise " * 10_000, flush=True)
                sys.stderr.write("noise " * 10_000)
                os.write(1, b"noise")
                return b"\x07" * size
            case "open":
                _expect_refusal(lambda: os.open("/etc/passwd", os.O_RDONLY))
                _expect_refusal(socket.socket)
                return b"\x07" * size
            case "descriptors":
                raise ValueError(", ".join(_descriptors().values()))
            case "lie":
                (channel,) = [number for number, kind in _descriptors().items() if kind == "socket"]
                os.write(channel, b"\xff" * 64)
                time.sleep(60)
            case "panic":
                raise Panic("thread '<unnamed>' panicked")
            case "signals":
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    os.kill(os.getpid(), number)
                return b"\x07" * size
        raise ValueError("not understood \x1b[31m é\nsecond line")


def _expect_refusal(attempt: object) -> None:
    try:
        attempt()  # type: ignore[operator]
    except OSError:
        return
    raise ValueError("was allowed to")


def _descriptors() -> dict[int, str]:
    """Each open descriptor, and what it is: "device", "socket" or "file INODE"."""
    found = {}
    for number in range(256):
        try:
            status = os.fstat(number)
        except OSError:
            continue
        if stat.S_ISSOCK(status.st_mode):
            found[number] = "socket"
        else:
            found[number] = "device" if stat.S_ISCHR(status.st_mode) else f"file {status.st_ino}"
    return found
