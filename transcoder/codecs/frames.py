"""Encodes the frames of one instance, several at a time, and compares what they decode to with the received pixels."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from support.one_line import one_line
from support.worker_pool import Task, WorkerPool

from ..input.header import Header
from ..input.pixels import Layout, Samples, check_stray_bits, frame
from ..outcome import MAX_DETAIL_CHARS, KeptError, Reason
from .codec import Codec

# The frames of one proof are divided into at most this many tasks.
_MAX_TASKS = 16


@dataclass(slots=True)
class Encoded:
    """The code streams of all frames, and the nanoseconds that decoding and comparing took on all threads together."""

    fragments: list[bytes]
    verify_ns: int = 0


class FrameEncoder(Protocol):
    """What `encode_frames` asks of frames, lossless or not."""

    @property
    def layout(self) -> Layout:
        """Of one frame, and how many there are."""

    def encode(self, number: int, *, verify: bool) -> tuple[bytes, int]:
        """See `Frames.encode`."""


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one received instance and the codec they go through."""

    header: Header
    layout: Layout
    codec: Codec

    def encode(self, number: int, *, verify: bool) -> tuple[bytes, int]:
        """One frame's code stream, and the nanoseconds that verifying it took.

        Raises:
            KeptError: pixels that cannot be encoded exactly, a refusal of the encoder, or a mismatch.
        """
        samples = frame(self.header, self.layout, number)
        check_stray_bits(samples, self.layout)
        try:
            stream = self.codec.encode(samples, self.layout)
        except Exception as error:  # noqa: BLE001 - every library has exceptions of its own
            raise KeptError(Reason.ENCODER_REFUSED, one_line(error, MAX_DETAIL_CHARS, with_type=True)) from None
        if not verify:
            return stream, 0
        before = time.perf_counter_ns()
        _compare(samples, stream, self.layout, self.codec, number)
        return stream, time.perf_counter_ns() - before

    def prove(self, fragments: Sequence[bytes], numbers: range) -> int:
        """Decode some of the frames and compare them with the received pixels; the nanoseconds that took.

        Raises:
            KeptError: a mismatch, with the frame.
        """
        before = time.perf_counter_ns()
        for number in numbers:
            _compare(frame(self.header, self.layout, number), fragments[number], self.layout, self.codec, number)
        return time.perf_counter_ns() - before


def encode_frames(frames: FrameEncoder, pool: WorkerPool, *, verify: bool, byte_limit: int) -> Encoded:
    """Encode every frame, several at a time where there are several; with ``verify``, decode and compare each.

    Stops once ``byte_limit`` is reached, since the result could not be smaller than the file received.

    Raises:
        KeptError: see `Frames.encode`; or no gain.
    """
    count = frames.layout.frames
    encoded = Encoded([])
    total = 0
    ahead: deque[Task[tuple[bytes, int]]] = deque()
    begun = 0
    for number in range(count):
        # As many as there are threads, no more: what is encoded ahead of a failure is wasted, and held in memory.
        while begun < count and len(ahead) <= pool.helpers:
            task = Task(partial(frames.encode, begun, verify=verify))
            ahead.append(pool.offer(task) if ahead else task)  # the first is this thread's own
            begun += 1
        stream, verify_ns = ahead.popleft().result()
        encoded.verify_ns += verify_ns
        total += len(stream) + 8
        if total >= byte_limit:
            raise KeptError(Reason.NOT_SMALLER, f"{total} bytes after {number + 1} of {count} frames")
        encoded.fragments.append(stream)
    return encoded


def proof_tasks(frames: Frames, fragments: Sequence[bytes]) -> list[Task[int]]:
    """The proof that all fragments decode to the received pixels, in pieces for several threads."""
    count = len(fragments)
    step = -(-count // _MAX_TASKS)
    pieces = [range(first, min(first + step, count)) for first in range(0, count, step)]
    return [Task(partial(frames.prove, fragments, piece)) for piece in pieces]


def _compare(samples: Samples, stream: bytes, layout: Layout, codec: Codec, number: int) -> None:
    """Compare the decoded stream with the received samples, bit by bit."""
    try:
        decoded = np.asarray(codec.decode(stream, layout))
    except Exception as error:  # noqa: BLE001 - as above
        raise KeptError(
            Reason.VERIFICATION_FAILED, f"frame {number}: {one_line(error, MAX_DETAIL_CHARS, with_type=True)}"
        ) from None
    same_kind = decoded.shape == samples.shape and decoded.dtype.itemsize == samples.dtype.itemsize
    if not same_kind or not np.array_equal(decoded.view(samples.dtype), samples):
        raise KeptError(Reason.VERIFICATION_FAILED, f"frame {number} came back with other pixels")
