"""The operators' page is served, with everything that it asks for."""

from __future__ import annotations

import re

import pytest

from harness.orthanc_process import OrthancProcess
from tests.conftest import ServerFactory

pytestmark = pytest.mark.orthanc


@pytest.mark.parametrize("path", ["/bundle/", "/bundle"])
def test_the_page_is_served_with_and_without_the_slash(server: OrthancProcess, path: str) -> None:
    answer = server.request("GET", path)
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")


def test_everything_the_page_asks_for_is_there(server: OrthancProcess) -> None:
    page = server.request("GET", "/bundle/").data.decode()
    files = re.findall(r'(?:href|src)="([^"]+)"', page)
    assert {"style.css", "app.js"} <= set(files)
    script = server.request("GET", "/bundle/app.js").data.decode()
    for path in [*(f"/bundle/{name}" for name in files if name != "data:,"), *re.findall(r'"\.\.(/[a-z/-]+)"', script)]:
        # 405: an action, which takes POST only.
        assert server.request("GET", path).status in {200, 405}, path
    assert "http://" not in page + script, "nothing beyond Orthanc is asked"
    assert "https://" not in page + script


def test_orthanc_explorer_links_to_the_page(server: OrthancProcess) -> None:
    assert "../bundle/" in server.request("GET", "/plugins/explorer.js").data.decode()


def test_the_page_and_the_routes_are_behind_orthanc_s_own_authentication(make_server: ServerFactory) -> None:
    server = make_server({"StageTiming": {}, "AuthenticationEnabled": True, "RegisteredUsers": {"alice": "secret"}})
    with server:
        for path in ("/bundle/", "/timing/stages", "/bundle/status"):
            assert server.http.request("GET", server.url + path).status == 401
            assert server.request("GET", path).status == 200


def test_the_page_forbids_everything_that_is_not_its_own(server: OrthancProcess) -> None:
    policy = server.request("GET", "/bundle/").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_refusal_has_a_status_and_words(server: OrthancProcess) -> None:
    answer = server.request("POST", "/deferred-delete/pause", headers={"Origin": "http://evil.example"})
    assert answer.status == 403
    assert answer.headers["Content-Type"] in {"application/json", "text/plain"}  # Orthanc 1.12 decides by itself
    assert "http://evil.example" in answer.json()["Message"]
    assert not server.json("GET", "/deferred-delete/status")["paused"]
