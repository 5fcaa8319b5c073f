"""Lossy compression of one instance: which images may lose something, and what the new file then says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import numpy as np

from dicom.file_meta import FileMeta, sop_instance_of
from support.one_line import one_line

from ..input.header import SOP_CLASS, Header
from ..input.pixels import Layout, check_stray_bits, frame
from ..outcome import MAX_DETAIL_CHARS, KeptError, Reason
from ..syntaxes import READABLE
from .codec import LossyCodec
from .derived import Derivation, as_derived, derived_uid
from .elements import LOSSY, LOSSY_METHOD, LOSSY_RATIO, SOP_INSTANCE, Elements, is_uid, top_level, values_of
from .errors import Errors, Values, stored_values

_PIXEL_PADDING_VALUE = 0x00280120
_PIXEL_PADDING_RANGE_LIMIT = 0x00280121
_FUNCTIONAL_GROUPS = (0x52009229, 0x52009230)

# Labels, fractions, doses and measured quantities: there the value beside the true one is a wrong answer.
_PARAMETRIC_MAP_AND_DOSE = ("1.2.840.10008.5.1.4.1.1.30", "1.2.840.10008.5.1.4.1.1.481.2")
_SEGMENTATIONS = "1.2.840.10008.5.1.4.1.1.66."  # 66.4 segmentation, 66.7 label map, 66.8 height map


def require_fit(meta: FileMeta, layout: Layout, codec: LossyCodec) -> None:
    """Refuse what the layout rules out, before a conversion.

    Raises:
        KeptError: with the reason.
    """
    if meta.transfer_syntax not in READABLE:
        raise KeptError(Reason.COMPRESSED, "lossy targets start from native pixel data only")
    if layout.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise KeptError(Reason.PHOTOMETRIC, f"{layout.photometric} for a lossy target")
    if layout.bits_stored == 1:
        raise KeptError(Reason.BIT_DEPTH, "1 bit for a lossy target")
    codec.require_range(layout)


@dataclass(frozen=True, slots=True)
class LossyFrames:
    """The frames of one received instance, each compressed within a bound and measured.

    Attributes:
        padding: smallest and largest value that means "no pixel" (PS3.3 C.7.5.1.1.2), None where there is none.
        lost: the errors of the frames done so far; from several threads, `list.append` being atomic.
    """

    header: Header
    layout: Layout
    codec: LossyCodec
    elements: Elements
    source: str
    padding: tuple[int, int] | None
    lost: list[Errors] = field(default_factory=list)

    def encode(self, number: int, *, verify: bool) -> tuple[bytes, int]:
        """One frame's stream, and the nanoseconds that measuring its errors took. They are always measured.

        Raises:
            KeptError: pixels that cannot be compressed within the bound, or padding that would change.
        """
        samples = frame(self.header, self.layout, number)
        check_stray_bits(samples, self.layout)
        try:
            compressed = self.codec.compress(samples, self.layout)
        except KeptError as kept:
            raise KeptError(kept.reason, f"frame {number}: {kept.detail}") from None
        except Exception as error:  # noqa: BLE001 - every library has exceptions of its own
            raise KeptError(Reason.ENCODER_REFUSED, one_line(error, MAX_DETAIL_CHARS, with_type=True)) from None
        if self.padding is not None:
            before, after = stored_values(samples, self.layout), compressed.values
            if not np.array_equal(_within(before, self.padding), _within(after, self.padding)):
                raise KeptError(Reason.PADDING, f"frame {number}")
        self.lost.append(compressed.errors)
        return compressed.stream, compressed.verify_ns


def frames_of(received: memoryview, meta: FileMeta, header: Header, layout: Layout, codec: LossyCodec) -> LossyFrames:
    """The frames of an instance whose data set is explicit VR little endian.

    Raises:
        KeptError: it is of a kind that must not lose anything, or lacks what the new file has to refer to.
    """
    sop_class = header.text(SOP_CLASS) or ""
    if sop_class in _PARAMETRIC_MAP_AND_DOSE or sop_class.startswith(_SEGMENTATIONS):
        raise KeptError(Reason.NOT_AN_IMAGE, sop_class)
    elements = top_level(header.view)
    if any(tag in elements for tag in _FUNCTIONAL_GROUPS):
        # Each has a Frame Type of its own (PS3.3 C.8.16.1), and where one came from (C.7.6.16.2.6).
        raise KeptError(Reason.FUNCTIONAL_GROUPS)
    _check_history(header.view, elements, again=codec.loss.again)
    source = b"\\".join(values_of(header.view, elements, SOP_INSTANCE)).decode("ascii", "replace")
    if not is_uid(source) or not is_uid(sop_class) or sop_instance_of(received, meta) != source:
        raise KeptError(
            Reason.ATTRIBUTES, "SOP Class UID, SOP Instance UID, or one that the file meta information has not"
        )
    return LossyFrames(header, layout, codec, elements, source, _padding(header.view, elements, layout))


def marked(new: bytes, frames: LossyFrames, fragments: Sequence[bytes]) -> tuple[bytes, str]:
    """The new file marked as derived (PS3.3 C.7.6.1.1.5), and a line that tells a person the same.

    Raises:
        KeptError: see `as_derived`.
    """
    codec, layout = frames.codec, frames.layout
    ratio = layout.frame_bytes * layout.frames / sum(map(len, fragments))
    errors = reduce(add, frames.lost)
    line = (
        f"{codec.title}, {codec.loss.text}: ratio {ratio:.2f}, "
        f"largest error {errors.largest}, RMS error {errors.rms:.3f} of stored values"
    )
    uid = derived_uid(frames.source, codec.loss)
    sop_class = frames.header.text(SOP_CLASS) or ""
    derivation = Derivation(sop_class, frames.source, uid, f"Lossy compression: {line}", ratio, codec.method)
    return as_derived(new, frames.elements, derivation), f"{line}; {frames.source} became {uid}"


def _check_history(view: memoryview, elements: Elements, *, again: bool) -> None:
    """Refuse what was compressed with loss before, unless the rule allows it and its history can be continued."""
    ratios, methods = (values_of(view, elements, tag) for tag in (LOSSY_RATIO, LOSSY_METHOD))
    flags = values_of(view, elements, LOSSY)
    if flags in ([], [b"00"]) and not ratios and not methods:
        return
    if not again:
        raise KeptError(Reason.ALREADY_LOSSY)
    if len(ratios) != len(methods):
        # The values of both go in pairs (C.7.6.1.1.5.1): a new one would stand beside the wrong one.
        raise KeptError(Reason.ALREADY_LOSSY, f"{len(ratios)} ratios and {len(methods)} methods")


def _padding(view: memoryview, elements: Elements, layout: Layout) -> tuple[int, int] | None:
    found = [elements[tag] for tag in (_PIXEL_PADDING_VALUE, _PIXEL_PADDING_RANGE_LIMIT) if tag in elements]
    if not found:
        return None
    if any(element.length != 2 for element in found):
        raise KeptError(Reason.ATTRIBUTES, "pixel padding value or range limit")
    # US or SS as Pixel Representation says, whatever the VR written.
    values = [int.from_bytes(view[one.value : one.end], "little", signed=layout.signed) for one in found]
    return min(values), max(values)


def _within(values: Values, span: tuple[int, int]) -> Any:
    return (values >= span[0]) & (values <= span[1])
