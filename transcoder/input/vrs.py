"""Finds the VR that an element of implicit VR is written with (PS3.5 6.2.2 and A.1, PS3.6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from pydicom.datadict import dictionary_VR, private_dictionary_VR

from dicom.elements import LONG_VRS, SHORT_VRS, UNDEFINED, Element, tag_text
from dicom.file_meta import text

from ..outcome import KeptError, Reason
from .header import MAX_TEXT_BYTES

_VRS = SHORT_VRS | LONG_VRS
_MAX_SHORT_LENGTH = 0xFFFE  # even lengths only, PS3.5 7.1.1
_VALUE_BYTES = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"AT": 4, b"FL": 4, b"FD": 8, b"OW": 2}


@dataclass(slots=True)
class Level:
    """One data set: the file's, or an item's.

    Attributes:
        signed: what (0028,0103) says here, or else in the data set around it; None where neither has it.
        depth: how many sequences it is in.
        creators: private creators, by the elements that they reserve.
    """

    signed: bool | None
    depth: int
    creators: dict[int, str] = field(default_factory=dict)


def vr_of(view: memoryview, element: Element, level: Level) -> bytes:
    """The VR to write: the dictionary's where it fits the value, UN where it does not (PS3.5 6.2.2).

    Raises:
        KeptError: the VR depends on Pixel Representation and there is none.
    """
    vr = _dictionary_vr(view, element, level)
    if vr in ("OB or OW", "US or OW"):
        vr = "OW"  # what implicit VR means by it: PS3.5 A.1
    elif vr in ("US or SS", "US or SS or OW"):
        if level.signed is None:
            raise KeptError(Reason.CONVERSION, f"VR of {tag_text(element.tag)} depends on an absent (0028,0103)")
        vr = "SS" if level.signed else "US"
    code = vr.encode("ascii")
    if code == b"SQ":
        return code
    if code not in _VRS or element.length % _VALUE_BYTES.get(code, 1) != 0:
        return b"UN"
    if element.length == UNDEFINED or (code in SHORT_VRS and element.length > _MAX_SHORT_LENGTH):
        return b"UN"
    return code


def _dictionary_vr(view: memoryview, element: Element, level: Level) -> str:
    """What the dictionaries say, before ambiguities are settled; UN when they say nothing."""
    tag, group, number = element.tag, element.tag >> 16, element.tag & 0xFFFF
    if number == 0:
        return "UL" if element.length == 4 else "UN"
    if group % 2 == 0:
        return _public_vr(tag)
    if not 0x10 <= number <= 0xFF:
        creator = level.creators.get(group << 8 | number >> 8)
        return "UN" if creator is None else _private_vr(tag, creator)
    if element.length <= MAX_TEXT_BYTES:  # LO, PS3.5 6.2
        level.creators[group << 8 | number] = text(view, element)
    return "LO"


@lru_cache(maxsize=8192)
def _public_vr(tag: int) -> str:
    """The VR of PS3.6, repeating groups included. Cached: the lookup is most of what a conversion costs."""
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


@lru_cache(maxsize=8192)
def _private_vr(tag: int, creator: str) -> str:
    """The VR of a vendor's element. Bounded: creators are whatever senders write."""
    try:
        vr = private_dictionary_VR(tag, creator)
    except KeyError:
        return "UN"
    # A vendor's sequence may hold anything, and UN keeps all of it: readers that know the vendor know UN.
    return "UN" if vr == "SQ" else vr
