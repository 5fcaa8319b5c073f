"""The process that decodes: answers one request after the other, until its socket is closed."""

from __future__ import annotations

import importlib
import os
import socket
import sys
from typing import Protocol

from . import limits
from .protocol import MAX_TEXT_BYTES, REPLY, REQUEST, FrameRequest, Status, unpack_request

BOOTSTRAP = """
import sys, types
if "%d.%d" % sys.version_info[:2] != sys.argv[1]: sys.exit("Python %d.%d" % sys.version_info[:2])
sys.path[:] = sys.argv[5:]
package = sys.modules["transcoder"] = types.ModuleType("transcoder")
package.__path__ = [sys.argv[2]]
from transcoder.decoding.worker import main
main(int(sys.argv[3]), sys.argv[4])
"""
"""Run by ``python -c``. Arguments: version, folder of the package, bytes of memory, module of decoders, sys.path.

The package `transcoder` is empty there: its own imports would double the time that a start takes.
"""


class DecodersLike(Protocol):
    """What the worker asks of its decoders."""

    def decode(self, stream: bytes, request: FrameRequest) -> bytes:
        """The decoded frame. May raise anything."""


def main(memory_bytes: int, decoders_module: str) -> None:
    """Serve until the parent closes its end."""
    with socket.socket(fileno=os.dup(0)) as channel:
        # Libraries that print must not print into the channel.
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        os.close(nothing)
        try:
            limits.confine(memory_bytes)
            decoders: DecodersLike = importlib.import_module(decoders_module).Decoders()
        except Exception as error:  # noqa: BLE001 - reported to the parent, which refuses to start
            _answer(channel, Status.REFUSED, _text(error))
            return
        limits.seal(max(2, channel.fileno()))
        _answer(channel, Status.READY, f"Python {sys.version.split()[0]}".encode())
        os.dup2(1, 2)
        while (packed := _receive(channel, REQUEST.size)) is not None:
            request = unpack_request(packed)
            stream = _receive(channel, request.stream_bytes)
            if stream is None:
                return
            limits.limit_time(request.budget_ms / 1000)
            status, content = _decoded(decoders, stream, request)
            limits.end_time_limit()
            del stream
            _answer(channel, status, content)


def _decoded(decoders: DecodersLike, stream: bytes, request: FrameRequest) -> tuple[Status, bytes]:
    try:
        content = decoders.decode(stream, request)
    except MemoryError as error:
        return Status.OUT_OF_MEMORY, _text(error)
    except BaseException as error:  # noqa: BLE001 - libraries have exceptions of their own; a panic in Rust is no Exception
        disagree = type(error).__name__ == "DisagreeError"
        return Status.DISAGREE if disagree else Status.REFUSED, _text(error)
    return Status.DECODED, content


def _text(error: BaseException) -> bytes:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}".encode("ascii", "backslashreplace")[:MAX_TEXT_BYTES]


def _answer(channel: socket.socket, status: Status, content: bytes) -> None:
    channel.sendall(REPLY.pack(status, len(content)))
    channel.sendall(content)


def _receive(channel: socket.socket, size: int) -> bytes | None:
    """Exactly ``size`` bytes, or None where the parent is gone."""
    buffer = bytearray(size)
    view = memoryview(buffer)
    while view:
        got = channel.recv_into(view)
        if not got:
            return None
        view = view[got:]
    return bytes(buffer)
