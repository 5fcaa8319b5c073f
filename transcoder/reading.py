"""Reads a received instance: its size, its header, the rule that decides, and then its pixels."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

from dicom.file_meta import FileMeta

from .decoding.recompress import DECODABLE, Recompressor, require_compressed_pixels
from .input.data_set import open_data_set
from .input.file_meta import read_file_meta
from .input.header import Header
from .input.pixels import attributes_of, layout_of, require_pixel_data
from .instance import Image, Progress
from .lossy.codec import LossyCodec
from .lossy.frames import require_fit
from .outcome import KeptError, Reason
from .policy.loss import Loss
from .policy.policy import Decision, Policy, facts_of
from .proof.conversion import as_explicit
from .settings import Settings
from .syntaxes import MEDIA_STORAGE_DIRECTORY


class Reader:
    """Reads instances as far as they are to be transcoded."""

    def __init__(
        self,
        settings: Settings,
        policy: Policy,
        recompressor: Recompressor | None,
        lossy_codecs: Mapping[Loss, LossyCodec],
    ) -> None:
        self._settings = settings
        self._policy = policy
        self._recompressor = recompressor
        self._lossy_codecs = lossy_codecs

    @property
    def decodable(self) -> frozenset[str]:
        """Transfer syntaxes of compressed pixel data that are not kept for being compressed."""
        return frozenset() if self._recompressor is None else DECODABLE

    def check_size(self, size_bytes: int) -> None:
        """Refuse what is not even looked at.

        Raises:
            KeptError: with the reason.
        """
        if not self._settings.enable:
            raise KeptError(Reason.DISABLED)
        if size_bytes < self._settings.minimum_size_bytes:
            raise KeptError(Reason.TOO_SMALL)
        if size_bytes > self._settings.maximum_size_bytes:
            raise KeptError(Reason.TOO_LARGE)

    def read(self, received: memoryview, origin: str, progress: Progress) -> Image:
        """Scan the header, ask the policy, and only then convert. Compressed pixels stay compressed.

        Raises:
            KeptError: with the reason.
        """
        meta = read_file_meta(received)
        progress.source_syntax = meta.transfer_syntax
        if meta.sop_class == MEDIA_STORAGE_DIRECTORY:
            raise KeptError(Reason.DICOMDIR)
        syntax, decodable = meta.transfer_syntax, self.decodable
        header = open_data_set(received[meta.end :], syntax, self._settings.maximum_inflated_bytes, decodable)
        compressed = syntax in decodable
        if compressed:
            require_compressed_pixels(header)
        else:
            require_pixel_data(header)
        decision = self._decide(header, meta, origin, len(received))
        progress.rule = decision.rule
        if decision.target is None:
            raise KeptError(Reason.BY_RULE)
        progress.target_syntax = decision.target
        if compressed:
            _check_recompression(syntax, decision)
            layout = replace(attributes_of(header, decision.target), planar=False)
            return Image(meta, header, layout, decision.target, header, len(received))
        layout = layout_of(header, decision.target)  # before a conversion: it is cheap, and often decides
        if decision.loss is not None:
            require_fit(meta, layout, self._lossy_codecs[decision.loss])
        header = as_explicit(header)
        return Image(meta, header, layout, decision.target, header, len(received), decision.loss)

    def with_native_pixels(self, image: Image, progress: Progress) -> Image:
        """The same with its pixels as if they had come native: decoded where they came compressed.

        Raises:
            KeptError: with the reason.
        """
        if self._recompressor is None or image.meta.transfer_syntax not in DECODABLE:
            return image
        started = time.perf_counter_ns()
        try:
            pixels = self._recompressor.pixels(image.header, image.layout, image.meta.transfer_syntax)
        finally:
            progress.decode_ns = time.perf_counter_ns() - started
        return replace(image, pixels=pixels, held_bytes=image.held_bytes + len(pixels.view))

    def _decide(self, header: Header, meta: FileMeta, origin: str, size_bytes: int) -> Decision:
        facts = facts_of(header, transfer_syntax=meta.transfer_syntax, origin=origin, size_bytes=size_bytes)
        return self._policy.decide(facts)


def _check_recompression(transfer_syntax: str, decision: Decision) -> None:
    """Refuse to decode what a rule wants as it is, or with loss.

    Raises:
        KeptError: with the reason.
    """
    if transfer_syntax == decision.target:
        raise KeptError(Reason.COMPRESSED, "as the rule wants it")
    if decision.loss is not None:
        raise KeptError(Reason.COMPRESSED, "lossy targets start from native pixel data only")
