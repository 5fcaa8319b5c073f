"""A verification counts for its own instance only, whatever else the same thread stores."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from plugin.storage_callbacks import StorageCallbacks, StorageRefusedError
from tests.support.samples import data_set, image, part10
from transcoder import PendingProofs, Reason, Settings, Transcoder
from transcoder.codecs.jpeg import JpegLs

USER_ATTACHMENT, DICOM, HEADER_COPY = 0, 1, 3


def other_instance() -> bytes:
    other = data_set(image(96, 64, stored=12), stored=12)
    other.SOPInstanceUID = "1.2.3.4.6"
    return part10(other)


RECEIVED = part10(data_set(image(96, 64, stored=12), stored=12))
OTHER = other_instance()
WRONG = "frame 0 came back with other pixels"


def compressed(content: bytes) -> bytes:
    """As StorageCompression hands it to the storage area."""
    return struct.pack("<Q", len(content)) + zlib.compress(content)


class Lying(JpegLs):
    """One pixel comes back wrong."""

    def decode(self, stream: bytes, layout: Any) -> Any:
        decoded = super().decode(stream, layout)
        decoded[-1, -1] ^= 1
        return decoded


class Server:
    """The storage callbacks of a server whose codec lies; one instance is handed back unproven."""

    def __init__(self) -> None:
        self.removed: list[str] = []
        area: Any = SimpleNamespace(create=lambda *_: 0, remove=lambda uuid, _type: self.removed.append(uuid))
        proofs = PendingProofs()
        self.storage = StorageCallbacks(area, None, proofs)
        self.storage.create("first", DICOM, OTHER)  # proofs wait once the storage area has been asked for
        self.transcoder = Transcoder(Settings(default="JPEGLSLossless"), proofs)
        encoder = self.transcoder._encoder
        encoder.codecs = dict.fromkeys(encoder.codecs, Lying())
        self.handed_back = self.received()

    def received(self) -> bytes:
        outcome = self.transcoder.transcode(RECEIVED, "http")
        assert outcome.dicom is not None
        return outcome.dicom

    def reasons(self) -> dict[Reason, int]:
        return {row.reason: row.count for row in self.transcoder.counters()}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.transcoder.close()


@pytest.mark.parametrize("form", [bytes, compressed], ids=["plain", "compressed"])
@pytest.mark.parametrize(
    ("content_type", "content"), [(USER_ATTACHMENT, b"report"), (DICOM, OTHER)], ids=["user attachment", "instance"]
)
def test_what_is_stored_after_an_instance_that_never_was_is_not_refused_for_it(
    server: Server, content_type: int, content: bytes, form: Any
) -> None:
    server.storage.create("other", content_type, form(content))
    assert server.removed == []


@pytest.mark.parametrize("form", [bytes, compressed], ids=["plain", "compressed"])
def test_its_own_instance_is_refused_whatever_was_stored_in_between(server: Server, form: Any) -> None:
    server.storage.create("report", USER_ATTACHMENT, form(b"report"))
    server.storage.create("other", DICOM, form(OTHER))
    with pytest.raises(StorageRefusedError, match=WRONG):
        server.storage.create("own", DICOM, form(server.handed_back))
    assert server.removed == ["own"]
    assert server.reasons() == {Reason.REFUSED: 1}


@pytest.mark.parametrize(
    "content", [b"", b"no DICOM", compressed(b"no DICOM"), b"\0" * 8 + b"\x78damaged", RECEIVED[:140]]
)
def test_an_image_of_which_nobody_can_tell_whose_it_is_waits_for_the_proof(server: Server, content: bytes) -> None:
    with pytest.raises(StorageRefusedError, match=WRONG):
        server.storage.create("own", DICOM, content)


def test_a_proof_that_nobody_asked_for_is_counted_when_its_thread_receives_the_next(server: Server) -> None:
    assert server.reasons() == {}
    server.received()
    assert server.reasons() == {Reason.NEVER_STORED: 1}
    server.transcoder.transcode(b"no DICOM", "http")
    assert server.reasons() == {Reason.NEVER_STORED: 2, Reason.NOT_DICOM: 1}
