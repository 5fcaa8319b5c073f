"""Requests from this package's threads to Orthanc's REST API, through a function that the caller provides."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from support.one_line import one_line

from .errors import DeferredDeleteError


class OrthancRequestError(DeferredDeleteError):
    """A request could not be sent, or Orthanc refused it; the message is one line."""


class HttpAnswer(Protocol):
    """HTTP status and body."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def body(self) -> bytes:
        """The answer's body."""


# method, path, body -> answer. May raise anything if the request cannot be sent.
Send = Callable[[str, str, bytes], HttpAnswer]


class Answered(NamedTuple):
    """Whether Orthanc has the thing, and its body."""

    found: bool
    body: bytes

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            OrthancRequestError: It is none.
        """
        try:
            return json.loads(self.body)
        except ValueError:
            raise OrthancRequestError(
                f"Orthanc answered something else than JSON: {self.body[:60]!r}; expected its REST API"
            ) from None


class OrthancClient:
    """Sends requests from a thread of ours; never from a callback or a route.

    Args:
        send: Makes one HTTP request of Orthanc's REST API.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    def ask(self, method: str, path: str, body: bytes = b"") -> Answered:
        """One request; 404 is an answer, every other failure an error.

        Raises:
            OrthancRequestError: Not sent, or refused with another status than 404.
        """
        answer = self.send(method, path, body)
        if answer.status == 404:
            return Answered(False, b"")
        if not 200 <= answer.status < 300:
            raise OrthancRequestError(f"{method} {path}: HTTP {answer.status}: {reason(answer.body)}")
        return Answered(True, answer.body)

    def send(self, method: str, path: str, body: bytes = b"") -> HttpAnswer:
        """One request, whatever its status.

        Raises:
            OrthancRequestError: Not sent.
        """
        try:
            return self._send(method, path, body)
        except Exception as error:  # noqa: BLE001  whatever the caller's function raises, the request was not sent
            raise OrthancRequestError(str(error) or type(error).__name__) from None


def reason(body: bytes) -> str:
    """The message of an error of Orthanc's, as one line."""
    try:
        error = json.loads(body)
        text = f"{error.get('Message', '')} {error.get('Details', '')}"
    except (ValueError, AttributeError):
        text = body[:200].decode("utf-8", "replace")
    return one_line(text, 300) or "no reason given"
