"""File meta information: read as a whole, or refused with one reason."""

from __future__ import annotations

import struct

import pytest

from dicom import uids
from dicom.errors import MalformedError, NoPreambleError
from dicom.file_meta import SOP_INSTANCE, has_prefix, read_file_meta, sop_instance_of

CT = b"1.2.840.10008.5.1.4.1.1.2\0"


def element(number: int, value: bytes, vr: bytes = b"UI") -> bytes:
    return struct.pack("<HH2sH", 2, number, vr, len(value)) + value


def file_of(*elements: bytes, group_length: int | None = None, data_set: bytes = b"\x08\0") -> bytes:
    meta = b"".join(elements)
    length = len(meta) if group_length is None else group_length
    return bytes(128) + b"DICM" + element(0, struct.pack("<L", length), b"UL") + meta + data_set


SYNTAX = element(0x10, uids.EXPLICIT_LITTLE_ENDIAN.encode() + b"\0")


def test_what_a_file_says_of_itself() -> None:
    content = file_of(element(2, CT), element(3, b"1.2.3\0"), SYNTAX)
    view = memoryview(content)
    meta = read_file_meta(view)
    assert (meta.transfer_syntax, meta.sop_class) == (uids.EXPLICIT_LITTLE_ENDIAN, "1.2.840.10008.5.1.4.1.1.2")
    assert sop_instance_of(view, meta) == "1.2.3"
    assert content[meta.end :] == b"\x08\0"
    assert content[meta.elements[SOP_INSTANCE].start :].startswith(element(3, b"1.2.3\0"))


def test_only_the_transfer_syntax_has_to_be_there() -> None:
    view = memoryview(file_of(SYNTAX))
    meta = read_file_meta(view)
    assert (meta.sop_class, sop_instance_of(view, meta)) == ("", "")


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(131), bytes(128) + b"DICX" + bytes(40)])
def test_without_the_prefix_it_is_no_dicom_file(content: bytes) -> None:
    assert not has_prefix(content)
    with pytest.raises(NoPreambleError):
        read_file_meta(memoryview(content))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bytes(128) + b"DICM", "ends within it"),
        (bytes(128) + b"DICM" + SYNTAX, "no group length"),
        (file_of(SYNTAX, group_length=1000), "beyond the end of the file"),
        (file_of(SYNTAX, element(3, b"1.2\0"), group_length=len(SYNTAX)), "stops short"),
        (file_of(SYNTAX, SYNTAX), "repeated"),
        (file_of(SYNTAX, b"\x08\0\x16\0UI\0\0"), "foreign"),
        (file_of(SYNTAX, *(element(0x100 + number, b"") for number in range(64))), "too many"),
        (file_of(SYNTAX, element(3, b"", b"ZZ")), "no VR"),
        (file_of(element(3, b"1.2\0")), "no transfer syntax"),
        (file_of(element(0x10, b"<script>")), "no transfer syntax"),
        (file_of(element(0x10, b"1" * 66)), "no transfer syntax"),
    ],
)
def test_what_contradicts_itself_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(MalformedError, match=says):
        read_file_meta(memoryview(content))
