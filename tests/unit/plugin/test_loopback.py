"""The client of our own REST API, against a small HTTP server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.free_ports import free_port
from plugin.loopback import Loopback, LoopbackError


class Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200 if self.headers["Authorization"] == "token" else 401)
        self.end_headers()
        self.wfile.write(self.path.encode() + b" " + body)

    def do_GET(self) -> None:
        self.wfile.write(b"nonsense\r\n\r\n")

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_a_request_carries_its_body_and_the_token(port: int) -> None:
    loopback = Loopback(port, tls=False, authorization=lambda: "token")
    assert loopback.request("POST", "/a", b"[1]") == (200, b"/a [1]")
    assert Loopback(port, tls=False, authorization=lambda: "other").request("POST", "/a").status == 401


def test_no_server_and_an_answer_that_is_none_are_one_kind_of_error(port: int) -> None:
    with pytest.raises(LoopbackError, match="GET /a on this Orthanc's own port"):
        Loopback(port, tls=False, authorization=lambda: "token").request("GET", "/a")
    with pytest.raises(LoopbackError, match="Connection refused"):
        Loopback(free_port(), tls=False, authorization=lambda: "token").request("GET", "/a")
