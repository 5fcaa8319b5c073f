"""Elements of an explicit VR little endian data set that marking a file as derived reads, replaces or adds."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

from dicom.elements import LONG_VRS, UNDEFINED, Budget, Element, end_of_undefined, read_element, tag_text
from dicom.errors import UnreadableError

from ..input.header import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS
from ..outcome import KeptError, Reason, kept_error_of

IMAGE_TYPE = 0x00080008
SOP_INSTANCE = 0x00080018
DERIVATION_DESCRIPTION = 0x00082111
SOURCE_IMAGES = 0x00082112
DERIVATION_CODES = 0x00089215
LOSSY = 0x00282110
LOSSY_RATIO = 0x00282112
LOSSY_METHOD = 0x00282114

VRS = {
    IMAGE_TYPE: b"CS",
    SOP_INSTANCE: b"UI",
    DERIVATION_DESCRIPTION: b"ST",
    SOURCE_IMAGES: b"SQ",
    DERIVATION_CODES: b"SQ",
    LOSSY: b"CS",
    LOSSY_RATIO: b"DS",
    LOSSY_METHOD: b"CS",
}
"""The VR of each element that is written."""

MAX_LENGTH = 0xFFFFFFFE
_MAX_SHORT_LENGTH = 0xFFFE
_UID = re.compile(r"[0-9]+(\.[0-9]+)+")

Elements = Mapping[int, Element]


def top_level(view: memoryview) -> dict[int, Element]:
    """Every top-level element of an explicit VR little endian data set, in ascending order and with the right VRs.

    Raises:
        KeptError: malformed, or not in ascending order, so that there is no one place for a new element.
    """
    budget = Budget(MAXIMUM_ELEMENTS, MAXIMUM_DEPTH)
    found: dict[int, Element] = {}
    offset, last = 0, -1
    try:
        while offset < len(view):
            budget.spend()
            element = read_element(view, offset, implicit=False)
            if element.length == UNDEFINED:
                element = element._replace(end=end_of_undefined(view, element, implicit=False, budget=budget))
            if element.tag <= last:
                raise KeptError(Reason.MALFORMED, f"{tag_text(element.tag)} is not in ascending order")
            if element.vr != VRS.get(element.tag, element.vr):
                raise KeptError(Reason.MALFORMED, f"{tag_text(element.tag)} with VR {element.vr.decode()}")
            found[element.tag] = element
            offset, last = element.end, element.tag
    except UnreadableError as error:
        raise kept_error_of(error) from None
    except struct.error:
        raise KeptError(Reason.MALFORMED, "the file ends within an element") from None
    return found


def is_uid(value: str) -> bool:
    """Whether it is a UID. Leading zeros in a component are let pass: many senders write them."""
    return len(value) <= 64 and _UID.fullmatch(value) is not None


def values_of(view: memoryview, elements: Elements, tag: int) -> list[bytes]:
    """The values of a text element, padding removed; none when absent or empty."""
    element = elements.get(tag)
    if element is None:
        return []
    values = [value.strip(b" \0") for value in bytes(view[element.value : element.end]).split(b"\\")]
    return values if any(values) else []


def element_bytes(tag: int, vr: bytes, value: bytes) -> bytes:
    """An explicit VR little endian element, padded to an even length (PS3.5 6.2, 7.1.2).

    Raises:
        KeptError: the value is too long for the length field of its VR.
    """
    value += (b"\0" if vr == b"UI" else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    if len(value) > (MAX_LENGTH if vr in LONG_VRS else _MAX_SHORT_LENGTH):
        raise KeptError(Reason.MALFORMED, f"{tag_text(tag)} would be too long")
    size = struct.pack("<HL", 0, len(value)) if vr in LONG_VRS else struct.pack("<H", len(value))
    return head + size + value
