"""The thread that asks for Orthanc's modalities, against a stub of Orthanc."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection
from typing import Any

import pytest

from plugin.config import modality_ports
from plugin.loopback import Loopback, LoopbackAnswer, LoopbackError
from plugin.parts.modalities import ModalityFollower


class Answers(Loopback):
    """Gives one answer after the other; the last for ever. An exception is raised."""

    def __init__(self, *answers: LoopbackAnswer | Exception) -> None:
        super().__init__(0, tls=False, authorization=lambda: "")
        self.answers = list(answers)
        self.asked = 0

    def request(self, method: str, path: str, body: bytes = b"", timeout_s: float = 0) -> LoopbackAnswer:
        assert (method, path) == ("GET", "/modalities?expand")
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def ports(*numbers: int) -> LoopbackAnswer:
    return LoopbackAnswer(
        200, json.dumps({str(one): {"AET": "A", "Host": "h", "Port": one} for one in numbers}).encode()
    )


class Told:
    def __init__(self) -> None:
        self.ports: list[set[int]] = []
        self.event = threading.Event()

    def __call__(self, found: Collection[int]) -> None:
        self.ports.append(set(found))
        self.event.set()

    def wait(self) -> None:
        assert self.event.wait(60)
        self.event.clear()


def test_asks_at_start_and_after_each_change() -> None:
    told = Told()
    follower = ModalityFollower(Answers(ports(104), ports(104, 11112)), told)
    follower.start()
    follower.start()  # a second start is no second thread
    told.wait()
    follower.changed()
    told.wait()
    assert follower.stop(60)
    assert told.ports == [{104}, {104, 11112}]
    assert "dicom-modalities" not in [thread.name for thread in threading.enumerate()]


@pytest.mark.parametrize(
    "trouble",
    [
        LoopbackError("not yet"),
        LoopbackAnswer(403, b"forbidden"),  # another plugin's authorization
        LoopbackAnswer(200, b"no json"),
        LoopbackAnswer(200, b"\xff"),
    ],
)
def test_trouble_is_tried_again(trouble: LoopbackAnswer | Exception) -> None:
    told = Told()
    follower = ModalityFollower(Answers(trouble, ports(104)), told, (0.01,))
    follower.start()
    told.wait()
    assert follower.stop(60)
    assert told.ports == [{104}]


def test_gives_up_in_one_line_and_keeps_what_was_known(caplog: pytest.LogCaptureFixture) -> None:
    told, answers = Told(), Answers(LoopbackAnswer(401, b""))
    follower = ModalityFollower(answers, told, (0.01, 0.01))
    with caplog.at_level(logging.WARNING):
        follower.start()
        deadline = time.monotonic() + 60
        while not caplog.records and time.monotonic() < deadline:
            time.sleep(0.005)
        assert follower.stop(60)
    assert [record.getMessage() for record in caplog.records] == [
        "ports of modalities not read, those known before are kept: GET /modalities?expand: HTTP 401"
    ]
    assert (told.ports, answers.asked) == ([], 3)


def test_stops_at_once_while_it_waits_to_ask_again() -> None:
    answers = Answers(LoopbackError("not yet"))
    follower = ModalityFollower(answers, Told(), (600.0,))
    follower.start()
    while not answers.asked:
        time.sleep(0.005)
    assert follower.stop(60)
    assert follower.stop(60)
    follower.start()  # and once more
    assert follower.stop(60)


@pytest.mark.parametrize(
    ("modalities", "expected"),
    [
        ({"a": ["A", "host", 104], "b": ["B", "host", "105", "Generic"]}, {104, 105}),
        ({"a": {"AET": "A", "Host": "host", "Port": 104}, "b": {"AET": "B"}}, {104}),
        ({"a": ["A", "host"], "b": None, "c": 3}, set()),
        ([], set()),
        (None, set()),
    ],
)
def test_ports_of_every_way_to_write_a_modality(modalities: Any, expected: set[int]) -> None:
    assert modality_ports(modalities) == expected
