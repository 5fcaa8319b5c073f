"""Decoders that crash, hang or lie, as their stream says. Loaded by the worker in place of the real ones."""

from __future__ import annotations

import ctypes
import mmap
import os
import signal
import socket
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
                found = [number for number in range(256) if _is_open(number)]
                raise ValueError(f"{found}")
            case "lie":
                os.write(3, b"\xff" * 64)
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


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
