"""Encodes and decodes the few DICOM messages that the probe exchanges.

DICOM PS3.8 section 9.3 (PDUs), and PS3.7 section 9.3 and annex E (commands).

A library would hide what is measured here: which bytes go out in one write, and when our kernel acknowledges what came
in.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

APPLICATION_CONTEXT = "1.2.840.10008.3.1.1.1"
VERIFICATION = "1.2.840.10008.1.1"
_IMPLEMENTATION_CLASS_UID = "1.2.826.0.1.3680043.8.498.1"
MAX_PDU_BYTES = 16384
# A peer that speaks something else often sends what looks like an enormous length; nothing that the probe expects comes
# near this.
_MAX_ANSWER_BYTES = 1 << 20

ASSOCIATE_RQ, ASSOCIATE_AC, ASSOCIATE_RJ, P_DATA, RELEASE_RQ, RELEASE_RP, ABORT = range(1, 8)
C_STORE_RQ, C_ECHO_RQ = 0x0001, 0x0030
RELEASE_REQUEST = struct.pack(">BxI4x", RELEASE_RQ, 4)
_REJECT_REASONS = {
    (1, 1): "no reason given",
    (1, 2): "application context not supported",
    (1, 3): "calling AE title not recognised: give one it knows with --calling",
    (1, 7): "called AE title not recognised: give the right one with --called",
    (2, 1): "no reason given",
    (2, 2): "protocol version not supported",
    (3, 1): "temporarily congested",
    (3, 2): "local limit exceeded: too many associations",
}


class ProtocolError(ValueError):
    """The peer sent no DICOM upper layer protocol, or not what was expected; the message says it in one line."""


class Accepted(NamedTuple):
    """What the peer agreed to."""

    context_id: int
    max_pdu_bytes: int


def pdu_length(header: bytes) -> int:
    """Returns the length of what follows a PDU's first six bytes.

    Raises:
        ProtocolError: no PDU begins like that.
    """
    kind, length = struct.unpack(">BxI", header)
    if not ASSOCIATE_RQ <= kind <= ABORT or header[1] != 0 or length > _MAX_ANSWER_BYTES:
        raise ProtocolError(f"the peer does not speak DICOM: it answered {header!r}")
    return int(length)


def associate_request(calling: str, called: str, sop_class: str, transfer_syntax: str) -> bytes:
    """Encodes an A-ASSOCIATE-RQ with one presentation context (PS3.8 section 9.3.2).

    Raises:
        ValueError: an AE title that is empty, longer than 16 characters, or not ASCII.
    """
    context = struct.pack(">B3x", 1) + _item(0x30, sop_class.encode()) + _item(0x40, transfer_syntax.encode())
    user = _item(0x51, struct.pack(">I", MAX_PDU_BYTES)) + _item(0x52, _IMPLEMENTATION_CLASS_UID.encode())
    items = _item(0x10, APPLICATION_CONTEXT.encode()) + _item(0x20, context) + _item(0x50, user)
    body = struct.pack(">H2x16s16s32x", 1, _title(called), _title(calling)) + items
    return struct.pack(">BxI", ASSOCIATE_RQ, len(body)) + body


def parse_accept(body: bytes) -> Accepted:
    """Decodes an A-ASSOCIATE-AC (PS3.8 section 9.3.3).

    Raises:
        ProtocolError: malformed, or the presentation context was not accepted.
    """
    result, max_pdu_bytes = None, 0
    for kind, value in _items(body[68:]):
        if kind == 0x21 and len(value) >= 3:
            result = value[2]
        elif kind == 0x50:
            lengths = [part for sub, part in _items(value) if sub == 0x51 and len(part) == 4]
            max_pdu_bytes = struct.unpack(">I", lengths[0])[0] if lengths else 0
    if result is None:
        raise ProtocolError("the peer accepted the association without a presentation context")
    if result != 0:
        reason = {1: "user", 3: "SOP class", 4: "transfer syntax"}.get(result, f"reason {result}")
        raise ProtocolError(f"the peer accepted the association but not what is to be sent (refused for its {reason})")
    # 0 means no limit (PS3.8 annex D.1.1); DCMTK's own is 16384, and that is the behaviour that is measured.
    return Accepted(1, min(max_pdu_bytes or MAX_PDU_BYTES, MAX_PDU_BYTES))


def reject_text(body: bytes) -> str:
    """Returns an A-ASSOCIATE-RJ in words (PS3.8 section 9.3.4)."""
    if len(body) < 4:
        return "association rejected"
    permanence = "for now" if body[1] == 2 else "for good"
    reason = _REJECT_REASONS.get((body[2], body[3]), f"source {body[2]}, reason {body[3]}")
    return f"association rejected {permanence}: {reason}"


def command(command_field: int, sop_class: str, message_id: int, sop_instance: str = "") -> bytes:
    """Encodes a C-ECHO-RQ, or with `sop_instance` of a C-STORE-RQ (PS3.7 sections 9.3.5.1 and 9.3.1.1)."""
    elements = _element(0x0002, _uid(sop_class))
    elements += _element(0x0100, struct.pack("<H", command_field)) + _element(0x0110, struct.pack("<H", message_id))
    if sop_instance:
        elements += _element(0x0700, struct.pack("<H", 0))
    elements += _element(0x0800, struct.pack("<H", 0x0001 if sop_instance else 0x0101))
    if sop_instance:
        elements += _element(0x1000, _uid(sop_instance))
    return _element(0x0000, struct.pack("<I", len(elements))) + elements


def data_header(context_id: int, length: int, *, is_command: bool, last: bool) -> bytes:
    """Encodes the 12 bytes before a fragment: P-DATA-TF and PDV header (PS3.8 section 9.3.5, annex E.2)."""
    return struct.pack(">BxIIBB", P_DATA, length + 6, length + 2, context_id, is_command | last << 1)


def command_fragments(body: bytes) -> tuple[bytes, bool]:
    """Returns the command bytes of one P-DATA-TF, and whether they are the last.

    Raises:
        ProtocolError: malformed.
    """
    found, last, at = b"", False, 0
    while at + 6 <= len(body):
        (length,) = struct.unpack_from(">I", body, at)
        if length < 2 or at + 4 + length > len(body):
            break
        control = body[at + 5]
        if control & 1:
            found, last = found + body[at + 6 : at + 4 + length], last or bool(control & 2)
        at += 4 + length
    if at != len(body):
        raise ProtocolError("the peer sent a P-DATA-TF PDU whose lengths do not add up")
    return found, last


def status(command_set: bytes) -> int:
    """Returns the status, (0000,0900), of a response.

    Raises:
        ProtocolError: not there, or malformed.
    """
    at = 0
    while at + 8 <= len(command_set):
        group, element, length = struct.unpack_from("<HHI", command_set, at)
        if (group, element, length) == (0, 0x0900, 2) and at + 10 <= len(command_set):
            return int(struct.unpack_from("<H", command_set, at + 8)[0])
        at += 8 + length
    raise ProtocolError("the peer's response has no status")


def _item(kind: int, value: bytes) -> bytes:
    return struct.pack(">BxH", kind, len(value)) + value


def _items(data: bytes) -> list[tuple[int, bytes]]:
    found, at = [], 0
    while at + 4 <= len(data):
        kind, length = struct.unpack_from(">BxH", data, at)
        if at + 4 + length > len(data):
            raise ProtocolError("the peer's A-ASSOCIATE-AC ends in the middle of an item")
        found.append((kind, data[at + 4 : at + 4 + length]))
        at += 4 + length
    return found


def _title(title: str) -> bytes:
    if not (len(title.strip()) > 0 and len(title) <= 16 and title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError(f"AE title {title!r}: expected 1 to 16 printable ASCII characters without backslash")
    return title.ljust(16).encode("ascii")


def _uid(uid: str) -> bytes:
    return (uid + "\0" * (len(uid) % 2)).encode("ascii")


def _element(element: int, value: bytes) -> bytes:
    return struct.pack("<HHI", 0, element, len(value)) + value
