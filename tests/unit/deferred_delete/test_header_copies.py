"""Header copies: not synced, and made good after a crash from the images they were copied from."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from deferred_delete import LEDGER_NAME, DeferredDelete, FileStorage, HeaderCopy, Settings
from deferred_delete.storage.header_copies import HEADER_TYPE, can_be_rebuilt, rebuild

Uuids = Callable[[int], list[str]]
HEADER = bytes(128) + b"DICM" + b"tags" * 50
IMAGE = HEADER + b"pixels" * 100


@pytest.fixture
def copies(storage: FileStorage, uuids: Uuids) -> list[HeaderCopy]:
    """Six images with their header copies, newest first."""
    names = uuids(12)
    made = [HeaderCopy(names[n], names[n + 1], len(HEADER)) for n in range(0, 12, 2)]
    for copy in made:
        storage.create(copy.dicom_uuid, IMAGE)
        storage.create(copy.header_uuid, HEADER)
    return made


def test_only_plain_first_parts_of_images_can_be_rebuilt() -> None:
    assert can_be_rebuilt(HEADER_TYPE, HEADER)
    assert not can_be_rebuilt(1, HEADER)  # the image itself
    assert not can_be_rebuilt(1024, HEADER)  # an attachment of a user's
    assert not can_be_rebuilt(HEADER_TYPE, b"\x10\0\0\0\0\0\0\0x\x9c" * 20)  # StorageCompression
    assert not can_be_rebuilt(HEADER_TYPE, b"")


def test_what_a_power_cut_leaves_is_written_anew(storage: FileStorage, copies: list[HeaderCopy]) -> None:
    empty, missing, torn, zeroes, longer, whole = (copy.header_uuid for copy in copies)
    storage.path_of(empty).write_bytes(b"")
    storage.delete(missing)
    storage.path_of(torn).write_bytes(HEADER[:100])
    storage.path_of(zeroes).write_bytes(bytes(len(HEADER)))
    storage.path_of(longer).write_bytes(HEADER + b"x")
    before = storage.path_of(whole).stat()
    assert rebuild(storage, copies, 120.0) == (6, 5, 0, 0)
    assert all(storage.read(copy.header_uuid) == HEADER for copy in copies)
    assert storage.path_of(whole).stat() == before
    assert rebuild(storage, copies, 120.0) == (6, 0, 0, 0)


def test_an_image_that_is_gone_or_too_short_is_told_and_nothing_is_written(
    storage: FileStorage, copies: list[HeaderCopy], caplog: pytest.LogCaptureFixture
) -> None:
    storage.delete(copies[0].dicom_uuid)
    storage.path_of(copies[1].dicom_uuid).write_bytes(IMAGE[:50])
    for copy in copies[:2]:
        storage.delete(copy.header_uuid)
    assert rebuild(storage, copies, 120.0) == (6, 0, 2, 0)
    assert copies[0].header_uuid in caplog.text
    assert storage.size(copies[1].header_uuid) is None


def test_the_search_ends_a_while_before_the_crash(storage: FileStorage, uuids: Uuids) -> None:
    names = uuids(2000)
    copies = [HeaderCopy(names[n], names[n + 1], len(HEADER)) for n in range(0, 2000, 2)]
    for number, copy in enumerate(copies):
        storage.create(copy.dicom_uuid, IMAGE)
        os.utime(storage.path_of(copy.dicom_uuid), (0, 1_000_000 - number))
    compared, rebuilt, hopeless, _ = rebuild(storage, copies, 120.0)
    assert (compared, hopeless) == (rebuilt, 0)
    assert 121 <= compared < 500


def test_the_storage_syncs_images_and_not_their_headers(
    tmp_path: Path, uuids: Uuids, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    names = iter(uuids(10))

    def syncs(content_type: int, content: bytes) -> int:
        synced.clear()
        service.area.create(next(names), content_type, content)
        return len(synced)

    service = DeferredDelete(tmp_path / "storage", Settings(), sync=True)
    assert syncs(HEADER_TYPE, HEADER) == 1  # nobody has said yet that the index is one we can read
    service.rely_on_rebuilding()
    assert syncs(HEADER_TYPE, HEADER) == 0
    assert syncs(1, IMAGE) == 1
    service.close()
    careful = service = DeferredDelete(tmp_path / "storage", Settings(sync_headers=True), sync=True)
    careful.rely_on_rebuilding()
    assert syncs(HEADER_TYPE, HEADER) == 1
    careful.close()


def test_headers_are_looked_at_after_a_crash_and_not_after_a_proper_stop(
    tmp_path: Path, copies: list[HeaderCopy]
) -> None:
    asked: list[bool] = []

    def header_copies() -> list[HeaderCopy]:
        asked.append(True)
        return copies

    def opened() -> DeferredDelete:
        return DeferredDelete(tmp_path / "storage", Settings(), sync=False, header_copies=header_copies)

    service = opened()
    assert asked == [True], "a new ledger cannot tell"
    service.close()
    opened().close()
    assert asked == [True]
    with sqlite3.connect(tmp_path / "storage" / LEDGER_NAME) as ledger:
        ledger.execute("UPDATE facts SET value = '0' WHERE name = 'clean'")
    service.storage.path_of(copies[0].header_uuid).write_bytes(b"")
    service = opened()
    assert asked == [True, True]
    assert service.storage.read(copies[0].header_uuid) == HEADER
    service.close()
