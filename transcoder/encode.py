"""Frames through a codec and back."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from .codecs import Codec
from .header import Header
from .outcome import KeptError, Reason
from .pixels import Layout, Samples, check_stray_bits, frame


@dataclass(slots=True)
class Encoded:
    """The code streams of all frames, and what decoding and comparing them took."""

    fragments: list[bytes]
    verify_ns: int = 0


def encode_frames(header: Header, layout: Layout, codec: Codec, *, verify: bool, byte_limit: int) -> Encoded:
    """Encode every frame; with ``verify``, decode each and compare before going on.

    Frame by frame, so that one decoded frame is held and not all, and stops once ``byte_limit`` is reached, since the
    result could not be smaller than the file received.

    Raises:
        KeptError: pixels that cannot be encoded exactly, a refusal of the encoder, a mismatch, or no gain.
    """
    encoded = Encoded([])
    total = 0
    for number in range(layout.frames):
        samples = frame(header, layout, number)
        check_stray_bits(samples, layout)
        try:
            stream = codec.encode(samples, layout)
        except Exception as error:  # noqa: BLE001 - every library has exceptions of its own
            raise KeptError(Reason.ENCODER_REFUSED, one_line(error)) from None
        total += len(stream) + 8
        if total >= byte_limit:
            raise KeptError(Reason.NOT_SMALLER, f"{total} bytes after {number + 1} of {layout.frames} frames")
        if verify:
            before = time.perf_counter_ns()
            _compare(samples, stream, layout, codec, number)
            encoded.verify_ns += time.perf_counter_ns() - before
        encoded.fragments.append(stream)
    return encoded


def _compare(samples: Samples, stream: bytes, layout: Layout, codec: Codec, number: int) -> None:
    """Hold the decoded stream against the received samples, bit by bit."""
    try:
        decoded = np.asarray(codec.decode(stream, layout))
    except Exception as error:  # noqa: BLE001 - as above
        raise KeptError(Reason.VERIFICATION_FAILED, f"frame {number}: {one_line(error)}") from None
    same_kind = decoded.shape == samples.shape and decoded.dtype.itemsize == samples.dtype.itemsize
    if not same_kind or not np.array_equal(decoded.view(samples.dtype), samples):
        raise KeptError(Reason.VERIFICATION_FAILED, f"frame {number} came back with other pixels")


def one_line(error: Exception) -> str:
    """Type and first line of an exception, short enough for a log line."""
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
