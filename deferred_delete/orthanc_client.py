"""How this package's threads talk to Orthanc: a client handed in, and what its answers mean."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from support.one_line import one_line

from .errors import DeferredDeleteError


class OrthancRequestError(DeferredDeleteError):
    """Orthanc could not be asked, or did not do what it was asked; the message is one line."""


class HttpAnswer(Protocol):
    """HTTP status and body."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def body(self) -> bytes:
        """The answer's body."""


# method, path, body -> answer. May raise anything when Orthanc can not be asked at all.
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
    """Asks Orthanc from a thread of ours; never from a callback or a route.

    Args:
        send: Makes one HTTP request of Orthanc's REST API.
    """

    def __init__(self, send: Send) -> None:
        self._send = send

    def ask(self, method: str, path: str, body: bytes = b"") -> Answered:
        """One request; 404 is an answer, every other failure an error.

        Raises:
            OrthancRequestError: Not asked, or refused with another status than 404.
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
            OrthancRequestError: Not asked.
        """
        try:
            return self._send(method, path, body)
        except Exception as error:  # noqa: BLE001  the client is handed in: whatever it raises, Orthanc was not asked
            raise OrthancRequestError(str(error) or type(error).__name__) from None


def reason(body: bytes) -> str:
    """What Orthanc's error says, as one line."""
    try:
        error = json.loads(body)
        text = f"{error.get('Message', '')} {error.get('Details', '')}"
    except (ValueError, AttributeError):
        text = body[:200].decode("utf-8", "replace")
    return one_line(text, 300) or "no reason given"
