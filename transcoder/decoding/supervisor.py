"""Keeps one decoder process running, gives it one instance at a time, and starts another when it dies."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..outcome import KeptError, Reason
from . import interpreter
from .deaths import Deaths
from .process import DecoderProcess, DiedError, Launch, TimedOutError
from .protocol import FrameRequest, Status

_log = logging.getLogger(__name__)

_FIRST_START_DEADLINE_S = 60.0
_RESTART_DEADLINE_S = 10.0
# The pace of the frames so far counts once this share of the time budget is used.
_PACE_COUNTS_AFTER = 0.2

_REASONS = {
    Status.REFUSED: Reason.DECODER_REFUSED,
    Status.DISAGREE: Reason.DECODERS_DISAGREE,
    Status.OUT_OF_MEMORY: Reason.DECODER_MEMORY,
}


@dataclass(frozen=True, slots=True)
class DecoderState:
    """The decoder process, for status pages.

    Attributes:
        pid: process number; 0 while none runs.
        starts: how many were started.
        deaths: how many died or were killed for being late.
    """

    pid: int
    starts: int
    deaths: int


class Decoder:
    """Decodes frames in a process of its own. Thread safe: one instance at a time."""

    def __init__(
        self,
        memory_bytes: int,
        budget_s: float,
        *,
        decoders: str = "transcoder.decoding.decoders",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is started yet.

        Args:
            memory_bytes: address space of the worker.
            budget_s: longest time that decoding one instance may take, waiting for others included.
            decoders: module of the decoders (tests have their own).
            clock: seconds, monotonic.
        """
        self._budget_s = budget_s
        self._launch = Launch("", memory_bytes, decoders)
        self._lock = threading.Lock()
        self._process: DecoderProcess | None = None
        self._stopped = False
        self._starts = 0
        self._deaths = Deaths(clock)

    def start(self) -> None:
        """Find a Python that runs the worker, and start it.

        Raises:
            RuntimeError: none does; one line.
        """
        failures = []
        for python in interpreter.candidates():
            launch = replace(self._launch, python=python)
            try:
                process = DecoderProcess(launch, time.monotonic() + _FIRST_START_DEADLINE_S)
            except (OSError, DiedError, TimedOutError) as error:
                failures.append(f"{python}: {error}")
                continue
            with self._lock:
                self._launch, self._process = launch, process
                self._starts += 1
            _log.info("decoder process %d runs with %s", process.pid, python)
            return
        tried = f"the decoder process does not start: {'; '.join(failures)}; " if failures else ""
        raise RuntimeError(tried + interpreter.missing())

    def stop(self, deadline_s: float = 5.0) -> None:
        """End the worker, within about so many seconds. From now on nothing is decoded.

        A decoding that is under way ends as if the worker had died.
        """
        self._stopped = True
        if not self._lock.acquire(timeout=deadline_s / 2):
            if (process := self._process) is not None:
                process.kill()
            if not self._lock.acquire(timeout=deadline_s / 2):
                return  # a worker that is just starting ends with this process
        try:
            if self._process is not None:
                self._process.end()
                self._process = None
        finally:
            self._lock.release()

    @property
    def state(self) -> DecoderState:
        """A snapshot, without waiting."""
        process = self._process
        return DecoderState(process.pid if process else 0, self._starts, self._deaths.count)

    def decode(self, request: FrameRequest, streams: Sequence[bytes]) -> bytearray:
        """All frames of one instance, one after the other.

        Args:
            request: what each frame should be; its budget and stream length are filled in here.
            streams: one code stream per frame.

        Raises:
            KeptError: with the reason. A worker that dies of an instance costs that instance only.
        """
        if not self._lock.acquire(timeout=self._budget_s):
            raise KeptError(Reason.DECODER_TIMED_OUT, "busy with other instances")
        try:
            process = self._running()
            # From here on: the time of a start is not the instance's, or a new worker would be killed for it.
            deadline = time.monotonic() + self._budget_s
            # Reserved only once the worker is free. The kernel fills it in page by page, as frames arrive.
            pixels = bytearray(request.frame_bytes * len(streams))
            view = memoryview(pixels)
            started = time.monotonic()
            for number, stream in enumerate(streams):
                self._check_pace(time.monotonic() - started, number, len(streams))
                place = view[number * request.frame_bytes : (number + 1) * request.frame_bytes]
                try:
                    self._decode_one(process, replace(request, stream_bytes=len(stream)), stream, place, deadline)
                except KeptError as kept:
                    raise KeptError(kept.reason, f"frame {number}: {kept.detail}") from None
            return pixels
        finally:
            self._lock.release()

    def _check_pace(self, elapsed_s: float, done: int, frames: int) -> None:
        """Give up early on an instance that takes too long, rather than kill a worker that works.

        Raises:
            KeptError: at the pace so far the time budget is not enough.
        """
        if done and elapsed_s > _PACE_COUNTS_AFTER * self._budget_s and elapsed_s / done * frames > self._budget_s:
            raise KeptError(Reason.DECODER_TIMED_OUT, f"{frames} frames would take {elapsed_s / done * frames:.0f} s")

    def _decode_one(
        self, process: DecoderProcess, request: FrameRequest, stream: bytes, place: memoryview, deadline: float
    ) -> None:
        left_ms = max(1, int((deadline - time.monotonic()) * 1000))
        try:
            status, text = process.decode(replace(request, budget_ms=left_ms), stream, place, deadline)
        except TimedOutError:
            self._died("took too long")
            raise KeptError(Reason.DECODER_TIMED_OUT, f"not within {self._budget_s:g} s") from None
        except DiedError as error:
            self._died(str(error))
            raise KeptError(Reason.DECODER_DIED, str(error)) from None
        if status is Status.OUT_OF_MEMORY:
            # What it still holds is not known. The next instance gets a new one, and this does not count as a death.
            process.end()
            self._process = None
        if status is not Status.DECODED:
            raise KeptError(_REASONS.get(status, Reason.DECODER_REFUSED), text)

    def _running(self) -> DecoderProcess:
        """The worker; started if there is none and no pause runs. The lock is held.

        Raises:
            KeptError: there is none.
        """
        if self._stopped:
            raise KeptError(Reason.DECODER_RESTING, "stopped")
        if self._process is not None and not self._process.running:
            self._died(self._process.end())  # while it was idle
        if self._process is not None:
            return self._process
        if (wait_s := self._deaths.pause_left_s()) > 0:
            raise KeptError(Reason.DECODER_RESTING, f"started again in {wait_s:.0f} s")
        try:
            self._process = DecoderProcess(self._launch, time.monotonic() + _RESTART_DEADLINE_S)
        except (OSError, DiedError, TimedOutError) as error:
            self._died(str(error))
            raise KeptError(Reason.DECODER_RESTING, f"does not start: {error}") from None
        self._starts += 1
        return self._process

    def _died(self, how: str) -> None:
        """Note that the worker is gone. The lock is held."""
        self._process = None
        self._deaths.add(how)
