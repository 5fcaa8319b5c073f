"""Input that comes compressed: which of it is decoded, and its pixels as native pixel data."""

from __future__ import annotations

from dicom.elements import UNDEFINED, Element

from ..input.fragments import frame_streams
from ..input.header import DIGITAL_SIGNATURES, PIXEL_DATA, Header
from ..input.pixels import Layout
from ..outcome import KeptError, Reason
from ..settings import Settings
from . import self_test
from .protocol import FAMILIES, Family, FrameRequest
from .supervisor import Decoder, DecoderState

DECODABLE = frozenset(FAMILIES)
"""Syntaxes that are lossless by definition: only for those the standard fixes every bit that a decoder returns."""


def require_compressed_pixels(header: Header) -> None:
    """Refuse what has no encapsulated pixel data at the top level, or has it in a form that may not change.

    Raises:
        KeptError: with the reason.
    """
    element = header.found.get(PIXEL_DATA)
    if element is None:
        raise KeptError(Reason.NO_PIXEL_DATA)
    if element.length != UNDEFINED or element.vr not in (b"OB", b"OW"):
        raise KeptError(Reason.MALFORMED, "compressed pixel data of defined length, or of a VR other than OB and OW")
    if DIGITAL_SIGNATURES in header.found:
        raise KeptError(Reason.DIGITALLY_SIGNED)


class Recompressor:
    """Decodes encapsulated pixel data in the worker process."""

    def __init__(self, settings: Settings) -> None:
        """Start the worker, and test that it decodes.

        Raises:
            RuntimeError: it does not; one line.
        """
        self._settings = settings
        self._decoder = Decoder(settings.decoder_memory_megabytes << 20, settings.decoder_seconds)
        self._decoder.start()
        try:
            self._self_test()
        except RuntimeError:
            self._decoder.stop()
            raise

    def _self_test(self) -> None:
        for family, stream in self_test.STREAMS.items():
            try:
                exact = self._decoder.decode(self_test.REQUESTS[family], [stream]) == self_test.PIXELS
            except KeptError as error:
                raise RuntimeError(f"no working decoder for {family.name}: {error}") from None
            if not exact:
                raise RuntimeError(f"the decoder for {family.name} is not exact")

    def pixels(self, header: Header, layout: Layout, transfer_syntax: str) -> Header:
        """The decoded frames as a data set that has native pixel data only, by pixel.

        Raises:
            KeptError: with the reason.
        """
        size = layout.frame_bytes * layout.frames
        if size > self._settings.maximum_inflated_bytes:
            raise KeptError(Reason.TOO_LARGE, f"decodes to {size} bytes")
        family = FAMILIES[transfer_syntax]
        streams = frame_streams(header, layout.frames, fragment_each=family is Family.RLE)
        request = FrameRequest(
            family=family,
            rows=layout.rows,
            columns=layout.columns,
            samples=layout.samples,
            bits_allocated=layout.bits_allocated,
            signed=layout.signed,
            transformed=layout.photometric == "RGB",
            budget_ms=0,
            stream_bytes=0,
        )
        decoded = self._decoder.decode(request, streams)
        element = Element(PIXEL_DATA, b"OW", 0, 0, size, size)
        return Header(memoryview(decoded), implicit=False, found={PIXEL_DATA: element})

    @property
    def state(self) -> DecoderState:
        """State of the worker."""
        return self._decoder.state

    def stop(self, deadline_s: float) -> None:
        """End the worker, within about so many seconds."""
        self._decoder.stop(deadline_s)
