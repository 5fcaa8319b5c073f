"""Proves that an explicit VR data set says the same as the implicit VR one it was made from.

It shares no code with the conversion. It walks over both at once: same tags in the same order, same nesting, same
value bytes.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from dicom.elements import (
    ITEM_DELIMITATION,
    SEQUENCE_DELIMITATION,
    UNDEFINED,
    Budget,
    Element,
    end_of_undefined,
    read_element,
    read_tag_and_length,
    tag_text,
)
from dicom.errors import UnreadableError

from ..input.header import MAXIMUM_DEPTH, MAXIMUM_ELEMENTS
from ..outcome import KeptError, Reason, kept_error_of


def prove_equal(implicit: memoryview, explicit: memoryview) -> None:
    """Compare the two data sets element by element, through sequences and items.

    Group lengths (retired, PS3.5 7.2) are the one value that may differ: longer headers change what they count.

    Raises:
        KeptError: they differ, with the tag where they first do.
    """
    try:
        reached = _Walk().elements(_Position(implicit, 0), _Position(explicit, 0), 0)
    except UnreadableError as error:
        raise kept_error_of(error) from None
    except struct.error:
        raise _differs("one of them ends within an element") from None
    if reached != (len(implicit), len(explicit)):
        raise _differs("one of them ends before the other")


def _differs(where: str) -> KeptError:
    return KeptError(Reason.CONVERSION, f"explicit and implicit VR differ: {where}")


class _Position(NamedTuple):
    """An offset into a buffer whose end is the end of what is being walked."""

    view: memoryview
    offset: int

    def tag_and_length(self) -> tuple[int, int]:
        return read_tag_and_length(self.view, self.offset)


class _Walk:
    """Walks over both buffers at once; every method returns the two offsets it reached."""

    def __init__(self) -> None:
        self._budget = Budget(2 * MAXIMUM_ELEMENTS, MAXIMUM_DEPTH)

    def elements(self, old: _Position, new: _Position, depth: int) -> tuple[int, int]:
        """Walk one data set, up to and with an item delimiter, or to the end of either buffer."""
        here, there = old.offset, new.offset
        while here < len(old.view) and there < len(new.view):
            self._budget.spend()
            before = read_element(old.view, here, implicit=True)
            if before.tag == ITEM_DELIMITATION:
                if bytes(old.view[here : here + 8]) != bytes(new.view[there : there + 8]):
                    raise _differs("an item ends in one and not in the other")
                return here + 8, there + 8
            after = read_element(new.view, there, implicit=False)
            if before.tag != after.tag or (before.length == UNDEFINED) != (after.length == UNDEFINED):
                raise _differs(f"{tag_text(before.tag)} became {tag_text(after.tag)}")
            if after.vr == b"SQ":
                here, there = self._items(old, before, new, after, depth)
            else:
                here, there = self._value(old, before, new, after)
        return here, there

    def _value(self, old: _Position, before: Element, new: _Position, after: Element) -> tuple[int, int]:
        before, after = self._with_end(old, before), self._with_end(new, after)
        # Copies: bytes compare by memcmp, memoryviews one element at a time.
        same = bytes(old.view[before.value : before.end]) == bytes(new.view[after.value : after.end])
        if not same and not (before.tag & 0xFFFF == 0 and before.length == after.length == 4):
            raise _differs(f"the value of {tag_text(before.tag)}")
        return before.end, after.end

    def _with_end(self, place: _Position, element: Element) -> Element:
        """The element with its true end. In UN of undefined length both are implicit VR (PS3.5 6.2.2 note 2)."""
        if element.length != UNDEFINED:
            return element
        return element._replace(end=end_of_undefined(place.view, element, implicit=True, budget=self._budget))

    def _items(self, old: _Position, before: Element, new: _Position, after: Element, depth: int) -> tuple[int, int]:
        """Walk the items of one sequence."""
        if depth >= self._budget.depth:
            raise KeptError(Reason.TOO_DEEP)
        if before.length != UNDEFINED:
            old, new = _Position(old.view[: before.end], 0), _Position(new.view[: after.end], 0)
        here, there = before.value, after.value
        while before.length == UNDEFINED or here < before.end:
            self._budget.spend()
            old, new = old._replace(offset=here), new._replace(offset=there)
            tag = old.tag_and_length()[0]
            if tag != new.tag_and_length()[0]:
                raise _differs(f"the items of {tag_text(before.tag)}")
            if tag == SEQUENCE_DELIMITATION:
                return here + 8, there + 8
            here, there = self._item(old, new, depth)
        if (here, there) != (before.end, after.end):
            raise _differs(f"the length of {tag_text(before.tag)}")
        return here, there

    def _item(self, old: _Position, new: _Position, depth: int) -> tuple[int, int]:
        length, new_length = old.tag_and_length()[1], new.tag_and_length()[1]
        if (length == UNDEFINED) != (new_length == UNDEFINED):
            raise _differs("the kind of length of an item")
        here, there = old.offset + 8, new.offset + 8
        if length == UNDEFINED:
            return self.elements(old._replace(offset=here), new._replace(offset=there), depth + 1)
        ends = here + length, there + new_length
        reached = self.elements(_Position(old.view[: ends[0]], here), _Position(new.view[: ends[1]], there), depth + 1)
        if reached != ends:
            raise _differs("the length of an item")
        return reached
