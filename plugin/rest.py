"""Registers the bundle's routes in Orthanc's REST API and answers their requests.

A GET never changes anything.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

import msgspec

from support.one_line import one_line

from . import cross_site

logger = logging.getLogger(__name__)

JSON = "application/json"
_T = TypeVar("_T")


class Request(NamedTuple):
    """What a handler gets of its request.

    Attributes:
        path: the URI without its query.
        groups: what the parentheses of the route's path matched.
        arguments: the query, for GET and DELETE only: Orthanc gives none for POST.
        headers: by lower-case name.
        body: as sent.
    """

    path: str
    groups: tuple[str, ...] = ()
    arguments: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body: bytes = b""

    def json(self, kind: type[Any]) -> Any:
        """The body as `kind`.

        Raises:
            RefusedError: 400, with the path inside the document and what is expected there.
        """
        try:
            return msgspec.json.decode(self.body, type=kind)
        except msgspec.DecodeError as error:
            raise RefusedError(400, f"body: {one_line(error).replace('`', '')}") from None


class RefusedError(Exception):
    """A request that is refused: answered with a status and one line; nothing was changed.

    Args:
        status: HTTP status, 4xx or 5xx.
        message: what, where, what was expected.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Failure(msgspec.Struct, rename="pascal"):
    """The body of any other status than 200, like that of Orthanc's own errors."""

    http_status: int
    message: str


class Answer(NamedTuple):
    """A body, its media type, and further headers."""

    body: bytes
    media_type: str = JSON
    headers: Mapping[str, str] = {}


class Parameter(NamedTuple):
    """What a request may say beside its body.

    Attributes:
        place: "query" or "header".
        name: as it is sent.
        schema: of its values, as JSON Schema.
    """

    place: str
    name: str
    schema: Mapping[str, Any]


class Route(NamedTuple):
    """One path and its handler.

    Attributes:
        method: the one method that the handler takes.
        path: a regular expression for the whole path, as Orthanc takes it.
        summary: what GET /bundle/status lists.
        handler: runs on one of Orthanc's HTTP threads, and must not wait for another of them.
        answer: the type of its JSON, for GET /bundle/openapi.json; None where it answers with something else.
        body: the type of the JSON that it takes; bytes: a DICOM file; None: it looks at no body.
        parameters: what else it looks at.
        media_type: of its answer.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[Request], Answer]
    answer: Any = None
    body: Any = None
    parameters: tuple[Parameter, ...] = ()
    media_type: str = JSON


def json_route(
    method: str,
    path: str,
    summary: str,
    handler: Callable[[Request], _T],
    answer: type[_T],
    *,
    body: Any = None,
    parameters: tuple[Parameter, ...] = (),
) -> Route:
    """A route that answers with JSON of the type `answer`, to which mypy holds the handler."""
    return Route(method, path, summary, lambda request: json_answer(handler(request)), answer, body, parameters)


def json_answer(value: Any) -> Answer:
    """Any value that msgspec knows, as JSON with a line break at its end."""
    return Answer(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


# The plugin releases its reference to each REST callback without Python's lock (RestCallback's destructor; seen with
# 5.0). If it were the last reference, Orthanc would end with a segmentation fault at every stop: seen with Python 3.13,
# not with 3.11.
_never_freed: list[Callable[..., None]] = []


def register(sdk: ModuleType, routes: list[Route]) -> None:
    """Registers each path once; another method than the route's is answered with 405."""
    for path in sorted({route.path for route in routes}):
        methods = {route.method: route.handler for route in routes if route.path == path}
        callback = _callback(path, methods)
        _never_freed.append(callback)
        sdk.RegisterRestCallback(path, callback)


def _callback(path: str, methods: dict[str, Callable[[Request], Answer]]) -> Callable[..., None]:
    def answer(output: Any, uri: str, **request: Any) -> None:
        handler = methods.get(str(request.get("method")))
        if handler is None:
            output.SendMethodNotAllowed(",".join(sorted(methods)))
            return
        made = _request(uri, request)
        reason = "" if request["method"] == "GET" else cross_site.refusal(made.headers)
        if reason:
            _send_error(output, 403, reason)
            return
        try:
            result = handler(made)
        except RefusedError as error:
            _send_error(output, error.status, one_line(error))
            return
        except Exception as error:  # noqa: BLE001 - a raise would keep its frames; the client gets a status, the log a line
            logger.error("%s: %s", path, one_line(error))  # noqa: TRY400
            _send_error(output, 500, one_line(error))
            return
        for name, value in result.headers.items():
            output.SetHttpHeader(name, value)
        output.AnswerBuffer(result.body, result.media_type)

    return answer


def _request(uri: str, request: dict[str, Any]) -> Request:
    return Request(
        path=uri,
        groups=tuple(request.get("groups", ())),
        arguments=request.get("get", {}),
        headers={name.lower(): value for name, value in request.get("headers", {}).items()},
        body=request.get("body", b"") or b"",
    )


def _send_error(output: Any, status: int, message: str) -> None:
    """The status with a JSON body like that of Orthanc's own errors.

    The body is ASCII, because older SDKs take text and its length in bytes.
    """
    body = json.dumps(msgspec.to_builtins(Failure(status, message)))
    try:
        # No Content-Type of ours: Orthanc 1.12 would add text/plain to it.
        output.SendHttpStatus(status, body)
    except TypeError:  # Python plugin 4.0 wants the length, later ones refuse it; nothing was sent yet
        output.SetHttpHeader("Content-Type", JSON)
        output.SendHttpStatus(status, body, len(body))
