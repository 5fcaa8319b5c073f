"""Starts one worker process, sends it requests, and ends it. Its answers are checked like a stranger's file."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .protocol import MAX_TEXT_BYTES, REPLY, FrameRequest, Status
from .worker import BOOTSTRAP

_PACKAGE = Path(__file__).resolve().parents[1]
_INHERITED = ("LD_LIBRARY_PATH", "PATH")
_ENVIRONMENT = {"LC_ALL": "C", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
_REAP_DEADLINE_S = 5.0
_EXIT_DEADLINE_S = 0.5


class DiedError(Exception):
    """The process ended, or sent what the protocol does not allow; one line. It is gone."""


class TimedOutError(Exception):
    """It did not answer in time. It is gone."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a worker is started.

    Attributes:
        python: the program.
        memory_bytes: its address space (RLIMIT_AS).
        decoders: the module of its decoders.
    """

    python: str
    memory_bytes: int
    decoders: str = "transcoder.decoding.decoders"


class DecoderProcess:
    """A running worker process. Not thread safe."""

    def __init__(self, launch: Launch, deadline: float) -> None:
        """Start it and wait until it has loaded its decoders.

        Args:
            launch: what to start.
            deadline: on `time.monotonic`.

        Raises:
            OSError: there is no such program, or no more processes.
            DiedError, TimedOutError: it did not become ready.
        """
        self._channel, theirs = socket.socketpair()
        # Isolated and without site: the paths are those of this process, so the libraries are the very same.
        command = [
            *(launch.python, "-I", "-S", "-B", "-c", BOOTSTRAP),
            *(f"{sys.version_info.major}.{sys.version_info.minor}", str(_PACKAGE)),
            *(str(launch.memory_bytes), launch.decoders),
            *(str(Path(path).absolute()) for path in sys.path if path),
        ]
        environment = _ENVIRONMENT | {name: os.environ[name] for name in _INHERITED if name in os.environ}
        try:
            with theirs:
                self._process: subprocess.Popen[bytes] = subprocess.Popen(
                    command,
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    close_fds=True,
                    cwd="/",
                    env=environment,
                )
        except OSError:
            self._channel.close()
            raise
        self._await_ready(deadline)

    def _await_ready(self, deadline: float) -> None:
        assert self._process.stderr is not None
        try:
            status, text = self._reply((), deadline, None)
        except DiedError as error:
            # What it last printed, if Python itself did not start.
            lines = self._process.stderr.read(4096).decode(errors="replace").split("\n")
            printed = [line.strip() for line in lines if line.strip()]
            raise DiedError(f"{error}: {printed[-1][:200]}" if printed else str(error)) from None
        finally:
            self._process.stderr.close()
        if status != Status.READY:
            self.end()
            raise DiedError(text)

    @property
    def pid(self) -> int:
        """Its process number."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def decode(self, request: FrameRequest, stream: bytes, pixels: memoryview, deadline: float) -> tuple[Status, str]:
        """One frame.

        Args:
            request: what the frame should be.
            stream: its code stream.
            pixels: where the samples go, exactly as long as they are.
            deadline: on `time.monotonic`.

        Returns:
            DECODED, or another status and the text that came with it.

        Raises:
            DiedError, TimedOutError: the process is gone.
        """
        return self._reply((request.pack(), stream), deadline, pixels)

    def kill(self) -> None:
        """Kills it, from any thread. A thread that waits for its answer gets DiedError."""
        self._process.kill()

    def end(self, deadline_s: float = _EXIT_DEADLINE_S) -> str:
        """Kill it if it does not end by itself, and reap it.

        Returns:
            How it ended, in words.
        """
        self._channel.close()
        # A process that ends by itself closes its socket first: its own status says more than our kill.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(deadline_s)
        self._process.kill()
        try:
            status = self._process.wait(_REAP_DEADLINE_S)
        except subprocess.TimeoutExpired:  # stuck in the kernel; Popen reaps it later
            return "cannot be killed"
        if status >= 0:
            return f"ended with status {status}"
        try:
            return f"ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"ended by signal {-status}"

    def _reply(self, question: tuple[bytes, ...], deadline: float, pixels: memoryview | None) -> tuple[Status, str]:
        try:
            return self._exchange(question, deadline, pixels)
        except TimeoutError:
            self.end(deadline_s=0.0)
            raise TimedOutError("no answer in time") from None
        except OSError as error:
            reason = str(error) if isinstance(error, ConnectionError) and not error.errno else ""
            raise DiedError(" and was ".join(filter(None, (reason, self.end())))) from None
        except BaseException:
            self.end(deadline_s=0.0)  # or its answer to this question would be taken for that to the next
            raise

    def _exchange(self, question: tuple[bytes, ...], deadline: float, pixels: memoryview | None) -> tuple[Status, str]:
        """Raises OSError, TimeoutError among them."""
        for part in question:
            self._set_timeout(deadline)
            self._channel.sendall(part)
        head = bytearray(REPLY.size)
        self._receive(memoryview(head), deadline)
        number, size = REPLY.unpack(head)
        if number == Status.DECODED:
            if pixels is None or size != len(pixels):
                raise ConnectionError("answers what was not asked")
            self._receive(pixels, deadline)
            return Status.DECODED, ""
        if number not in Status.__members__.values() or size > MAX_TEXT_BYTES:
            raise ConnectionError("answers what was not asked")
        text = bytearray(size)
        self._receive(memoryview(text), deadline)
        return Status(number), "".join(chr(code) if 32 <= code < 127 else "?" for code in text)

    def _receive(self, view: memoryview, deadline: float) -> None:
        while view:
            self._set_timeout(deadline)
            got = self._channel.recv_into(view)
            if not got:
                raise ConnectionResetError
            view = view[got:]

    def _set_timeout(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._channel.settimeout(left)
