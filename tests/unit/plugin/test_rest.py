"""Routes: methods, failures, and what they register."""

from __future__ import annotations

from typing import Any

import pytest

from plugin import rest
from tests.support.stub_orthanc import StubOrthanc, StubOutput


def registered(routes: list[rest.Route]) -> dict[str, Any]:
    sdk = StubOrthanc("RegisterRestCallback")
    rest.register(sdk, routes)
    return dict(sdk.called("RegisterRestCallback"))  # type: ignore[arg-type]


def fail(_: rest.Request) -> rest.Answer:
    raise RuntimeError("ledger\nis gone")


def refuse(_: rest.Request) -> rest.Answer:
    raise rest.RefusedError(409, "no: expected yes")


ROUTES = [
    rest.Route("GET", "/a", "", lambda _: rest.json_answer({"x": 1})),
    rest.Route("POST", "/a", "", lambda _: rest.json_answer({"done": True})),
    rest.Route("GET", "/b", "", fail),
    rest.Route("POST", "/c", "", refuse),
]


@pytest.mark.parametrize(
    ("path", "method", "answer"),
    [
        ("/a", "GET", (200, b'{\n  "x": 1\n}\n', rest.JSON)),
        ("/a", "POST", (200, b'{\n  "done": true\n}\n', rest.JSON)),
        ("/a", "DELETE", (405, "GET,POST")),
        # A POST route's effect must not be had by a GET, and the other way round.
        ("/b", "POST", (405, "GET")),
        ("/b", "GET", (500, '{"HttpStatus": 500, "Message": "ledger is gone"}')),
        ("/c", "POST", (409, '{"HttpStatus": 409, "Message": "no: expected yes"}')),
    ],
)
def test_a_route_answers_its_methods_only(path: str, method: str, answer: tuple[Any, ...]) -> None:
    output = StubOutput()
    registered(ROUTES)[path](output, path, method=method, groups=(), get={}, headers={})
    assert output.answer == answer


def test_a_failing_handler_is_logged_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    registered(ROUTES)["/b"](StubOutput(), "/b", method="GET")
    assert [record.getMessage() for record in caplog.records] == ["/b: ledger is gone"]


def test_a_handler_gets_what_the_request_holds() -> None:
    seen: list[rest.Request] = []

    def keep(request: rest.Request) -> rest.Answer:
        seen.append(request)
        return rest.json_answer({})

    callback = registered([rest.Route("POST", "/x/(.+)", "", keep)])["/x/(.+)"]
    callback(StubOutput(), "/x/abc", method="POST", groups=("abc",), headers={"Host": "a"}, body=b"[1]")
    callback(StubOutput(), "/x/abc", method="POST", groups=("abc",), get={}, headers={}, body=None)
    assert seen == [rest.Request("/x/abc", ("abc",), {}, {"host": "a"}, b"[1]"), rest.Request("/x/abc", ("abc",))]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'["a"]', None),
        (b'{"a": 1}', "body: Expected array, got object"),
        (b'["a", 2]', "body: Expected str, got int - at $[1]"),
        (b"[", "body: Input data was truncated"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_with_its_place(body: bytes, message: str | None) -> None:
    request = rest.Request("/x", body=body)
    if message is None:
        assert request.json(list[str]) == ["a"]
        return
    with pytest.raises(rest.RefusedError) as caught:
        request.json(list[str])
    assert (caught.value.status, str(caught.value)) == (400, message)


def test_another_site_s_page_cannot_change_anything() -> None:
    callback, output = registered(ROUTES)["/a"], StubOutput()
    foreign = {"Host": "pacs", "Origin": "http://evil"}
    callback(output, "/a", method="POST", headers=foreign)
    assert output.answer is not None
    assert output.answer[0] == 403
    callback(output, "/a", method="GET", headers=foreign)
    assert output.answer[0] == 200


@pytest.mark.parametrize("wants_length", [True, False])
def test_a_refusal_is_told_by_every_version_of_the_sdk(wants_length: bool) -> None:
    output = StubOutput(wants_length=wants_length)
    registered(ROUTES)["/c"](output, "/c", method="POST")
    assert output.answer == (409, '{"HttpStatus": 409, "Message": "no: expected yes"}')
