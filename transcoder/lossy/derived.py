"""Marks a file as derived by lossy compression: new identity, flags, and its source (PS3.3 C.7.6.1.1.5, C.12.4.1).

Elements are replaced or put in where they belong; every other byte stays.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from dicom.elements import ITEM, UNDEFINED, Element, tag_text

from ..input.file_meta import read_file_meta
from ..outcome import KeptError, Reason
from ..output.file_meta import with_sop_instance
from ..policy.loss import Loss
from .elements import (
    DERIVATION_CODES,
    DERIVATION_DESCRIPTION,
    IMAGE_TYPE,
    LOSSY,
    LOSSY_METHOD,
    LOSSY_RATIO,
    MAX_LENGTH,
    SOP_INSTANCE,
    SOURCE_IMAGES,
    VRS,
    Elements,
    element_bytes,
    values_of,
)

_REFERENCED_SOP_CLASS = 0x00081150
_REFERENCED_SOP_INSTANCE = 0x00081155
_PURPOSE_OF_REFERENCE = 0x0040A170
_MAX_DESCRIPTION_CHARS = 1024  # ST, PS3.5 6.2
# The namespace of the UUIDs that new UIDs are made of: a constant of this program, made once at random.
_NAMESPACE = uuid.UUID("6b0f0a0e-3a5c-4d0e-9c57-2f3c1d7f6a41")


@dataclass(frozen=True, slots=True)
class Derivation:
    """What the new file says of itself.

    Attributes:
        sop_class: SOP Class UID of the source, and of the result.
        source: SOP Instance UID of the source.
        sop_instance: SOP Instance UID of the result.
        description: a line of ASCII for Derivation Description.
        ratio: size of the native pixel data divided by that of the streams.
        method: Defined Term for Lossy Image Compression Method.
    """

    sop_class: str
    source: str
    sop_instance: str
    description: str
    ratio: float
    method: str


def derived_uid(source: str, loss: Loss) -> str:
    """The SOP Instance UID of an instance compressed with this loss.

    It is always the same one, so that sending again stores nothing twice: a name-based UUID (RFC 4122 4.3) under the
    root for UUIDs (PS3.5 B.2).
    """
    return f"2.25.{uuid.uuid5(_NAMESPACE, f'{source} {loss.target} {loss.text}').int}"


def as_derived(dicom: bytes, elements: Elements, derivation: Derivation) -> bytes:
    """The file marked as derived.

    Args:
        dicom: explicit VR little endian.
        elements: those of its data set, as far as the groups 0008 and 0028 go.
        derivation: what it says of itself.

    Raises:
        KeptError: an element that is there already leaves no room, or file meta information has no SOP Instance UID.
    """
    view = memoryview(dicom)
    meta = read_file_meta(view)
    data_set = view[meta.end :]
    changed = _changed(data_set, elements, derivation)
    changed |= _group_lengths(data_set, elements, changed)
    pieces: list[bytes | memoryview] = [with_sop_instance(view, meta, derivation.sop_instance)]
    offset = 0
    for tag in sorted(changed):
        old = elements.get(tag)
        start = _place_of(tag, elements) if old is None else old.start
        pieces += (data_set[offset:start], changed[tag])
        offset = start if old is None else old.end
    return b"".join((*pieces, data_set[offset:]))


def _changed(view: memoryview, elements: Elements, derivation: Derivation) -> dict[int, bytes]:
    """The elements to replace or put in, each with its header."""
    image_type = values_of(view, elements, IMAGE_TYPE)[1:] or [b"SECONDARY"]
    ratio = f"{derivation.ratio:.2f}".encode("ascii")
    values = {
        IMAGE_TYPE: b"\\".join((b"DERIVED", *image_type)),
        SOP_INSTANCE: derivation.sop_instance.encode("ascii"),
        DERIVATION_DESCRIPTION: _described(view, elements, derivation.description.encode("ascii")),
        SOURCE_IMAGES: _appended(view, elements.get(SOURCE_IMAGES), _source_item(derivation)),
        DERIVATION_CODES: _appended(view, elements.get(DERIVATION_CODES), _code_item(b"113040", b"Lossy Compression")),
        LOSSY: b"01",
        LOSSY_RATIO: b"\\".join((*values_of(view, elements, LOSSY_RATIO), ratio)),
        LOSSY_METHOD: b"\\".join((*values_of(view, elements, LOSSY_METHOD), derivation.method.encode("ascii"))),
    }
    return {tag: element_bytes(tag, VRS[tag], value) for tag, value in values.items()}


def _described(view: memoryview, elements: Elements, line: bytes) -> bytes:
    """The old description and one more line.

    The line is ASCII, which may follow in any character set: a value ends in ASCII's code page (PS3.5 6.1.2.5.3).
    """
    old = elements.get(DERIVATION_DESCRIPTION)
    before = b"" if old is None else bytes(view[old.value : old.end]).rstrip(b" \0")
    described = before + b"; " + line if before else line
    if len(described) > _MAX_DESCRIPTION_CHARS:
        raise KeptError(Reason.ATTRIBUTES, "no room left in Derivation Description")
    return described


def _appended(view: memoryview, old: Element | None, item: bytes) -> bytes:
    """The items of a sequence and one more; the sequence is of defined length from here on."""
    if old is None:
        return item
    end = old.end - 8 if old.length == UNDEFINED else old.end
    return bytes(view[old.value : end]) + item


def _source_item(derivation: Derivation) -> bytes:
    purpose = _code_item(b"121320", b"Uncompressed predecessor")
    return _item(
        element_bytes(_REFERENCED_SOP_CLASS, b"UI", derivation.sop_class.encode("ascii")),
        element_bytes(_REFERENCED_SOP_INSTANCE, b"UI", derivation.source.encode("ascii")),
        element_bytes(_PURPOSE_OF_REFERENCE, b"SQ", purpose),
    )


def _code_item(value: bytes, meaning: bytes) -> bytes:
    """An item of the Code Sequence macro, of the terms of DICOM itself (PS3.3 8.8, PS3.16 annex D)."""
    return _item(
        element_bytes(0x00080100, b"SH", value),
        element_bytes(0x00080102, b"SH", b"DCM"),
        element_bytes(0x00080104, b"LO", meaning),
    )


def _item(*elements: bytes) -> bytes:
    content = b"".join(elements)
    return struct.pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content


def _group_lengths(view: memoryview, elements: Elements, changed: Mapping[int, bytes]) -> dict[int, bytes]:
    """Group lengths (retired, PS3.5 7.2) where there are any, with the new elements counted."""
    lengths = {}
    for group in {tag >> 16 for tag in changed}:
        tag = group << 16
        old = elements.get(tag)
        if old is None:
            continue
        if old.length != 4:
            raise KeptError(Reason.MALFORMED, f"group length {tag_text(tag)}")
        grown = sum(len(new) - _size(elements.get(one)) for one, new in changed.items() if one >> 16 == group)
        total = int.from_bytes(view[old.value : old.end], "little") + grown
        if not 0 <= total <= MAX_LENGTH:
            raise KeptError(Reason.MALFORMED, f"group length {tag_text(tag)}")
        lengths[tag] = element_bytes(tag, b"UL", struct.pack("<L", total))
    return lengths


def _size(element: Element | None) -> int:
    return 0 if element is None else element.end - element.start


def _place_of(tag: int, elements: Elements) -> int:
    """Where an element that is not there belongs: before the first one with a greater tag."""
    return min(element.start for other, element in elements.items() if other > tag)
