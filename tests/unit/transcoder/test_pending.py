"""Proofs that end after an instance was handed back and before it is stored."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from support.worker_pool import Task
from tests.support.samples import data_set, image, part10
from transcoder import PendingProofs, Reason, Settings, Transcoder
from transcoder.codecs.jpeg import JpegLs
from transcoder.proof.pending import Proof

GOOD = part10(data_set(image(96, 64, stored=12), stored=12))
FRAMES = part10(data_set(np.stack([image(96, 64, stored=12)] * 40), stored=12, frames=40))
SETTINGS = Settings(default="JPEGLSLossless")


def asked() -> PendingProofs:
    """As after the first attachment that the storage area was given."""
    pending = PendingProofs()
    assert pending.settle(b"") == ""
    return pending


def reasons(transcoder: Transcoder) -> list[tuple[Reason, int]]:
    return [(row.reason, row.count) for row in transcoder.counters()]


@pytest.mark.parametrize("dicom", [GOOD, FRAMES])
def test_an_instance_is_counted_when_it_is_proven(dicom: bytes) -> None:
    pending = asked()
    transcoder = Transcoder(SETTINGS, pending)
    outcome = transcoder.transcode(dicom, "http")
    assert (outcome.transcoded, outcome.verify_ns) == (True, 0)
    assert outcome.dicom == Transcoder(SETTINGS).transcode(dicom, "http").dicom
    assert reasons(transcoder) == []
    assert pending.settle(b"") == ""
    assert reasons(transcoder) == [(Reason.TRANSCODED, 1)]
    assert pending.settle(b"") == ""  # the second attachment of the same image
    assert reasons(transcoder) == [(Reason.TRANSCODED, 1)]
    transcoder.close()


class Lying(JpegLs):
    """One pixel comes back wrong, of the last frame where there are several."""

    def decode(self, stream: bytes, layout: Any) -> Any:
        decoded = super().decode(stream, layout)
        decoded[-1, -1] ^= 1
        return decoded


@pytest.mark.parametrize("dicom", [GOOD, FRAMES])
def test_a_wrong_pixel_is_found_before_the_instance_is_stored_and_the_codec_not_trusted_again(
    dicom: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending = asked()
    transcoder = Transcoder(SETTINGS, pending)
    monkeypatch.setattr(transcoder._encoder, "codecs", dict.fromkeys(transcoder._encoder.codecs, Lying()))
    outcome = transcoder.transcode(dicom, "http")
    assert outcome.transcoded
    assert pending.settle(b"") == "frame 0 came back with other pixels"
    assert reasons(transcoder) == [(Reason.REFUSED, 1)]
    again = transcoder.transcode(dicom, "http")
    assert (again.reason, again.dicom) == (Reason.VERIFICATION_FAILED, None)
    assert pending.settle(b"") == ""
    transcoder.close()


def test_a_decoder_that_fails_proves_nothing() -> None:
    def fails() -> int:
        raise MemoryError

    assert Proof([Task(lambda: 1), Task(fails)], 1, "1.2.3").finish() == "MemoryError"


def test_what_was_never_stored_does_not_answer_for_the_next_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    pending = asked()
    transcoder = Transcoder(SETTINGS, pending)
    monkeypatch.setattr(transcoder._encoder, "codecs", dict.fromkeys(transcoder._encoder.codecs, Lying()))
    assert transcoder.transcode(GOOD, "http").transcoded
    assert not transcoder.transcode(b"no DICOM", "http").transcoded
    assert pending.settle(b"") == ""
    transcoder.close()


def test_each_thread_answers_for_its_own_instance() -> None:
    pending = PendingProofs()

    def fails() -> int:
        raise ValueError("no")

    pending.add(Proof([Task(fails)], 1, "1.2.3"))
    others: list[str] = []
    thread = threading.Thread(target=lambda: others.append(pending.settle(b"")))
    thread.start()
    thread.join()
    assert others == [""]
    assert pending.settle(b"") == "ValueError: no"


def test_beyond_a_bound_the_proof_comes_before_the_instance_is_handed_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transcoder.proof.pending._MAX_HELD_BYTES", len(GOOD) - 1)
    transcoder = Transcoder(SETTINGS, asked())
    outcome = transcoder.transcode(GOOD, "http")
    assert outcome.transcoded
    assert outcome.verify_ns > 0
    assert reasons(transcoder) == [(Reason.TRANSCODED, 1)]


def test_only_what_is_not_proven_yet_counts_against_the_bound() -> None:
    pending = asked()
    proof = Proof([Task(lambda: 1)], 200 << 20, "1.2.3")
    pending.add(proof)
    assert not pending.may_wait(100 << 20)
    proof.tasks[0].result()
    assert pending.may_wait(100 << 20)


@pytest.mark.parametrize(
    "settings", [Settings(default="JPEGLSLossless", verify=False), Settings(default="JPEGLSLossless", dry_run=True)]
)
def test_without_verification_and_in_a_dry_run_nothing_is_left_to_prove(settings: Settings) -> None:
    pending = asked()
    transcoder = Transcoder(settings, pending)
    transcoder.transcode(GOOD, "http")
    assert [count for _, count in reasons(transcoder)] == [1]
    assert pending.settle(b"") == ""


def test_where_nobody_asks_for_verdicts_they_come_first() -> None:
    transcoder = Transcoder(SETTINGS, PendingProofs())
    for _ in range(2):
        outcome = transcoder.transcode(GOOD, "http")
        assert outcome.transcoded
        assert outcome.verify_ns > 0
