"""Keeps one worker running, gives it one instance at a time, and starts another when it dies, though not as often as it likes."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from support.backoff import backoff_ms

from ..outcome import KeptError, Reason
from . import interpreter
from .process import DecoderProcess, DiedError, Launch, TimedOutError
from .protocol import FrameRequest, Status

_log = logging.getLogger(__name__)

_FIRST_START_DEADLINE_S = 60.0
_RESTART_DEADLINE_S = 10.0
# Deaths count for so long. The first costs no pause; then they double, up to a minute: a bad sender must not make us
# start process after process.
_MEMORY_OF_DEATHS_S = 600.0
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_DEATHS_TO_TELL = 3
# Share of the budget after which the pace of the frames so far is believed.
_PACE_AFTER = 0.2

_REASONS = {
    Status.REFUSED: Reason.DECODER_REFUSED,
    Status.DISAGREE: Reason.DECODERS_DISAGREE,
    Status.OUT_OF_MEMORY: Reason.DECODER_MEMORY,
}


@dataclass(frozen=True, slots=True)
class DecoderState:
    """For status pages: the worker's process number (0: none runs), how many were started, and how many died or were killed for being late."""

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
        self._clock = clock
        self._lock = threading.Lock()
        self._process: DecoderProcess | None = None
        self._stopped = False
        self._starts = 0
        self._deaths = 0
        self._recent: deque[float] = deque(maxlen=16)
        self._not_before = 0.0

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
        """End the worker, within about so many seconds; from now on nothing is decoded. What is under way then ends as if the worker had died."""
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
        """A snapshot. Waits for nothing."""
        process = self._process
        return DecoderState(process.pid if process else 0, self._starts, self._deaths)

    def decode(self, request: FrameRequest, streams: Sequence[bytes]) -> bytearray:
        """All frames of one instance, one after the other.

        Args:
            request: what each frame should be; its budget and stream length are filled in here.
            streams: one code stream per frame.

        Raises:
            KeptError: with the reason; where the worker died of it, it costs this instance only.
        """
        if not self._lock.acquire(timeout=self._budget_s):
            raise KeptError(Reason.DECODER_TIMED_OUT, "busy with other instances")
        try:
            process = self._running()
            deadline = (
                time.monotonic() + self._budget_s
            )  # a start is not the instance's time: a new worker must not be killed for it
            # Reserved only now, that it is this instance's turn. The kernel fills it in page by page, as frames arrive.
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
        """Give up in time on what is only long, rather than kill a worker that is well.

        Raises:
            KeptError: at the pace so far the budget would not do.
        """
        if done and elapsed_s > _PACE_AFTER * self._budget_s and elapsed_s / done * frames > self._budget_s:
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
            # What it still holds is not known: a new one, without prejudice.
            process.end()
            self._process = None
        if status is not Status.DECODED:
            raise KeptError(_REASONS.get(status, Reason.DECODER_REFUSED), text)

    def _running(self) -> DecoderProcess:
        """The worker; started if there is none and it is time. The lock is held.

        Raises:
            KeptError: there is none.
        """
        if self._stopped:
            raise KeptError(Reason.DECODER_RESTING, "stopped")
        if self._process is not None and not self._process.running:
            self._died(self._process.end())  # while nothing was asked of it
        if self._process is not None:
            return self._process
        wait_s = self._not_before - self._clock()
        if wait_s > 0:
            raise KeptError(Reason.DECODER_RESTING, f"started again in {wait_s:.0f} s")
        try:
            self._process = DecoderProcess(self._launch, time.monotonic() + _RESTART_DEADLINE_S)
        except (OSError, DiedError, TimedOutError) as error:
            self._died(str(error))
            raise KeptError(Reason.DECODER_RESTING, f"does not start: {error}") from None
        self._starts += 1
        return self._process

    def _died(self, how: str) -> None:
        """The worker is gone; when the next may be started. The lock is held."""
        now = self._clock()
        self._process = None
        self._deaths += 1
        while self._recent and now - self._recent[0] > _MEMORY_OF_DEATHS_S:
            self._recent.popleft()
        self._recent.append(now)
        several = len(self._recent) - 1
        pause_s = backoff_ms(several, _FIRST_PAUSE_S, _LONGEST_PAUSE_S) / 1000 if several else 0.0
        self._not_before = now + pause_s
        if len(self._recent) == _DEATHS_TO_TELL:
            _log.warning(
                "decoder process: %s; that was the third time within ten minutes: compressed instances are kept as they come while it rests, "
                "now for %.0f s, and longer each time up to a minute",
                how,
                pause_s,
            )
