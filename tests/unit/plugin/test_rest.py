"""Routes: methods, failures, and what they register."""

from __future__ import annotations

from typing import Any

import pytest

from plugin import rest
from tests.stub_orthanc import StubOrthanc, StubOutput


def registered(routes: list[rest.Route]) -> dict[str, Any]:
    sdk = StubOrthanc("RegisterRestCallback")
    rest.register(sdk, routes)
    return dict(sdk.called("RegisterRestCallback"))  # type: ignore[arg-type]


def fail() -> rest.Answer:
    raise RuntimeError("ledger\nis gone")


ROUTES = [
    rest.Route("GET", "/a", "", lambda: rest.json_answer({"x": 1})),
    rest.Route("POST", "/a", "", lambda: rest.json_answer({"done": True})),
    rest.Route("GET", "/b", "", fail),
]


@pytest.mark.parametrize(
    ("path", "method", "answer"),
    [
        ("/a", "GET", (200, b'{\n  "x": 1\n}\n', rest.JSON)),
        ("/a", "POST", (200, b'{\n  "done": true\n}\n', rest.JSON)),
        ("/a", "DELETE", (405, "GET,POST")),
        # A POST route's effect must not be had by a GET, and the other way round.
        ("/b", "POST", (405, "GET")),
        ("/b", "GET", (500,)),
    ],
)
def test_a_route_answers_its_methods_only(path: str, method: str, answer: tuple[Any, ...]) -> None:
    output = StubOutput()
    registered(ROUTES)[path](output, path, method=method, groups=(), get={}, headers={})
    assert output.answer == answer


def test_a_failing_handler_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    registered(ROUTES)["/b"](StubOutput(), "/b", method="GET")
    assert [record.getMessage() for record in caplog.records] == ["/b: ledger is gone"]
