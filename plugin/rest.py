"""The bundle's routes in Orthanc's REST API. A GET never changes anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from .callbacks import one_line

logger = logging.getLogger(__name__)

JSON = "application/json"


class Answer(NamedTuple):
    """A body and its media type."""

    body: bytes
    media_type: str = JSON


class Route(NamedTuple):
    """One path and what answers it.

    `path` is literal; `method` the one method it takes; `summary` is what GET /bundle/status lists.
    """

    method: str
    path: str
    summary: str
    handler: Callable[[], Answer]


def json_answer(value: Any) -> Answer:
    """Any value that msgspec knows, as JSON with a line break at its end."""
    return Answer(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


# The plugin gives up its reference to each REST callback without holding Python's lock (RestCallback's destructor; seen with 5.0). Were
# it the last one, Orthanc would die of a segmentation fault at every stop: seen with Python 3.13, survived by chance with 3.11.
_never_freed: list[Callable[..., None]] = []


def register(sdk: ModuleType, routes: list[Route]) -> None:
    """Registers each path once; another method than the route's is answered with 405."""
    for path in sorted({route.path for route in routes}):
        methods = {route.method: route.handler for route in routes if route.path == path}
        callback = _callback(path, methods)
        _never_freed.append(callback)
        sdk.RegisterRestCallback(path, callback)


def _callback(path: str, methods: dict[str, Callable[[], Answer]]) -> Callable[..., None]:
    def answer(output: Any, _uri: str, **request: Any) -> None:
        handler = methods.get(str(request.get("method")))
        if handler is None:
            output.SendMethodNotAllowed(",".join(sorted(methods)))
            return
        try:
            result = handler()
        except Exception as error:  # noqa: BLE001 - a raise would keep its frames; the client gets a status, the log a line
            logger.error("%s: %s", path, one_line(error))  # noqa: TRY400
            output.SendHttpStatusCode(500)
            return
        output.AnswerBuffer(result.body, result.media_type)

    return answer
