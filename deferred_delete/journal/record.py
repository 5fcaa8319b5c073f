"""One record of the journal: 64 bytes, so that none crosses a page.

| bytes | |
|---|---|
| 8 | sequence number |
| 8 | time of the request, ms since 1970 |
| 4 | Orthanc's content type |
| 4 | grace period, hundredths of a second |
| 36 | attachment UUID, ASCII |
| 4 | CRC-32 of the 60 bytes before, started from the CRC-32 of the ledger's identity |

Integers are little-endian. The identity in the checksum makes a record of another ledger look damaged even where the
file's header is damaged too: the wrong deletion would destroy a live file.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple
from zlib import crc32

RECORD_BYTES: Final = 64
_BODY: Final = struct.Struct("<QQII36s")
_GRACE_UNIT_MS: Final = 10
_CHECKSUM: Final = struct.Struct("<I")
_EMPTY: Final = bytes(RECORD_BYTES)


class Record(NamedTuple):
    """A request to remove an attachment."""

    sequence: int
    attachment_uuid: str
    content_type: int
    requested_at_ms: int
    grace_ms: int

    @property
    def due_at_ms(self) -> int:
        """When the file may be deleted, in ms since 1970."""
        return self.requested_at_ms + self.grace_ms


def encode(record: Record, seed: int) -> bytes:
    """Returns the 64 bytes of a record.

    Args:
        record: Its UUID is 36 ASCII characters; its grace period is rounded up to 10 ms, and less than 497 days.
        seed: The CRC-32 of the ledger's identity.

    Raises:
        struct.error: A number does not fit.
    """
    sequence, attachment_uuid, content_type, requested_at_ms, grace_ms = record
    body = _BODY.pack(
        sequence, requested_at_ms, content_type, -(-grace_ms // _GRACE_UNIT_MS), attachment_uuid.encode("ascii")
    )
    return body + _CHECKSUM.pack(crc32(body, seed))


def decode(slots: bytes | memoryview, seed: int) -> Iterator[Record | None]:
    """Yields the records of whole slots in order, None for each that is damaged. Empty slots are passed over."""
    for start in range(0, len(slots), RECORD_BYTES):
        slot = bytes(slots[start : start + RECORD_BYTES])
        body = slot[: _BODY.size]
        if crc32(body, seed) == _CHECKSUM.unpack_from(slot, _BODY.size)[0]:
            sequence, requested_at_ms, content_type, grace, uuid = _BODY.unpack(body)
            yield Record(sequence, uuid.decode("ascii"), content_type, requested_at_ms, grace * _GRACE_UNIT_MS)
        elif slot != _EMPTY:
            yield None
