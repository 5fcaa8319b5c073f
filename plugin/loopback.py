"""HTTP requests to the Orthanc that we run in.

`orthanc.RestApi*` keeps Python's lock while it waits for the core. The core may wait for a storage callback, and that
one for Python's lock: a deadlock. A socket releases the lock, so our threads send requests as any client does.
"""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from typing import NamedTuple

from .config import Configuration, CoreSettings

TIMEOUT_S = 600.0


_NO_CERTIFICATE = "SslVerifyPeers: true: the bundle has no client certificate to ask Orthanc with"
_PROXY = "expected false, and a reverse proxy before Orthanc that asks clients for their certificates"


def refusal(core: CoreSettings) -> str:
    """One line that says why our threads cannot send requests to this Orthanc, or empty.

    A client certificate of our own would have to be among those that Orthanc trusts (SslTrustedClientCertificates).
    That file is the operator's.
    """
    if not core.http_server_enabled:
        return "HttpServerEnabled: false: the bundle cannot ask Orthanc: expected true"
    if core.ssl_enabled and core.ssl_verify_peers:
        return f"{_NO_CERTIFICATE}: {_PROXY}"
    return ""


def lost_without_certificate(configuration: Configuration) -> str:
    """One line that says what does not work because Orthanc asks for client certificates, or empty.

    Empty without an HTTP server too: none of it could be requested then.
    """
    core, associations = configuration.core, configuration.dicom_associations
    if not (core.http_server_enabled and core.ssl_enabled and core.ssl_verify_peers):
        return ""
    lost = []
    if configuration.deferred_delete is not None:
        lost += ["no background deletion and restore of studies", "no audit of a running Orthanc"]
    if associations is not None and core.dicom_server_enabled and associations.quick_ack and associations.outgoing:
        lost += ["no notice of modalities that are added at runtime"]
    return f"{_NO_CERTIFICATE}: without it there is {', '.join(lost)}: {_PROXY}" if lost else ""


class LoopbackError(Exception):
    """Orthanc did not answer: not yet started, stopping, or without an HTTP server; the message is one line."""


class LoopbackAnswer(NamedTuple):
    """HTTP status and body."""

    status: int
    body: bytes


class Loopback:
    """A client of this process's own REST API.

    Several threads may use it, since each request has its own connection. A callback or a route must not: the HTTP
    thread that would answer may be the one that waits.

    Args:
        port: Orthanc's HttpPort.
        tls: SslEnabled. The certificate is not checked: it names the host as clients know it, and the connection does
            not leave the machine.
        authorization: gives the Authorization header's value. Called for each request, since the SDK gives a token
            only once the server runs.
    """

    def __init__(self, port: int, *, tls: bool, authorization: Callable[[], str]) -> None:
        self._port = port
        self._tls = tls
        self._authorization = authorization

    def request(self, method: str, path: str, body: bytes = b"", timeout_s: float = TIMEOUT_S) -> LoopbackAnswer:
        """One request, whatever its status.

        Raises:
            LoopbackError: no answer within `timeout_s` seconds without a byte, or no server.
        """
        connection = self._connection(timeout_s)
        try:
            connection.request(method, path, body or None, {"Authorization": self._authorization()})
            response = connection.getresponse()
            return LoopbackAnswer(response.status, response.read())
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
            raise LoopbackError(f"{method} {path} on this Orthanc's own port {self._port}: {reason}") from None
        finally:
            connection.close()

    def _connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if not self._tls:
            return http.client.HTTPConnection("127.0.0.1", self._port, timeout=timeout_s)
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self._port, timeout=timeout_s, context=context)
