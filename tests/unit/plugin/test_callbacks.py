"""What the callbacks answer when a package fails, which a healthy server does not show."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from plugin.callbacks import ChangeCallback, IngestCallbacks
from plugin.storage_callbacks import StorageCallbacks, StorageRefusedError
from tests.support.stub_orthanc import StubOrthanc


class Raising:
    """Any method of it raises."""

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **__: object) -> None:
            raise RuntimeError(f"{name}\nfailed")

        return call


KEEP, MODIFY, CSTORE = 1, 2, 2


def ingest(**parts: Any) -> IngestCallbacks:
    given = {"transcoder": None, "recorder": None, "tuner": None} | parts
    return IngestCallbacks(StubOrthanc(), clock_ns=lambda: 0, **given)


def test_an_instance_is_kept_when_the_transcoder_or_the_recorder_fails() -> None:
    assert ingest(transcoder=Raising()).received(b"dicom", CSTORE) == (KEEP, None)
    assert ingest(recorder=Raising()).received(b"dicom", CSTORE) == (KEEP, None)
    ingest(recorder=Raising()).stored(object(), "id")


def test_only_a_transcoded_instance_is_handed_back() -> None:
    kept = SimpleNamespace(transcode=lambda *_: SimpleNamespace(transcoded=False, dicom=None, reason="kept"))
    changed = SimpleNamespace(
        transcode=lambda *_: SimpleNamespace(transcoded=True, dicom=b"smaller", reason="transcoded")
    )
    assert ingest(transcoder=kept).received(b"dicom", CSTORE) == (KEEP, None)
    assert ingest(transcoder=changed).received(b"dicom", CSTORE) == (MODIFY, b"smaller")


def test_a_refused_write_is_one_line_and_does_not_keep_the_attachment() -> None:
    events: list[Any] = []
    recorder: Any = SimpleNamespace(
        write_started=lambda *given: events.append(given),
        write_ended=lambda failed=False, **_: events.append(failed),
    )
    callbacks = StorageCallbacks(Raising(), recorder)  # type: ignore[arg-type]
    with pytest.raises(StorageRefusedError) as caught:
        callbacks.create("uuid", 1, b"content" * 100)
    assert str(caught.value) == "create failed"
    assert events == [(700, "uuid"), True]
    frame = caught.traceback[-1].frame.f_locals
    assert "content" not in frame


def test_a_refused_read_is_one_line() -> None:
    with pytest.raises(StorageRefusedError, match=r"^read failed$"):
        StorageCallbacks(Raising(), None).read("uuid", 1)  # type: ignore[arg-type]


def test_remove_never_raises_into_the_core() -> None:
    StorageCallbacks(Raising(), None).remove("uuid", 1)  # type: ignore[arg-type]
    removed: list[str] = []
    area: Any = SimpleNamespace(remove=lambda uuid, _type: removed.append(uuid))
    StorageCallbacks(area, Raising()).remove("uuid", 1)  # type: ignore[arg-type]
    assert removed == ["uuid"], "a failing recorder costs no deletion"


def test_started_and_stopped_are_told_apart_and_never_raise() -> None:
    seen: list[str] = []

    def fail() -> None:
        raise RuntimeError("no")

    changed = ChangeCallback({10: lambda: seen.append("started"), 11: fail})
    for change in (3, 10, 11):
        changed(change, 0, "")
    assert seen == ["started"]


def test_what_is_not_proven_is_refused_and_taken_away() -> None:
    events: list[Any] = []
    area: Any = SimpleNamespace(
        create=lambda *given: events.append(("create", *given)), remove=lambda *given: events.append(("remove", *given))
    )
    verdicts = iter(["frame 0 came back with other pixels", ""])
    proofs: Any = SimpleNamespace(settle=lambda _stored: next(verdicts))
    callbacks = StorageCallbacks(area, None, proofs)
    with pytest.raises(StorageRefusedError, match="frame 0 came back with other pixels"):
        callbacks.create("one", 1, b"new")
    callbacks.create("two", 1, b"proven")
    assert events == [("create", "one", 1, b"new"), ("remove", "one", 1), ("create", "two", 1, b"proven")]


def test_no_verdict_is_asked_for_what_could_not_be_written() -> None:
    proofs: Any = SimpleNamespace(settle=lambda _stored: pytest.fail("asked"))
    with pytest.raises(StorageRefusedError, match="create failed"):
        StorageCallbacks(Raising(), None, proofs).create("uuid", 1, b"content")  # type: ignore[arg-type]
