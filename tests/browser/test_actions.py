"""What an operator does on the page, with its results, its errors, and whom it refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
import urllib3
from playwright.sync_api import expect

from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload
from tests.browser.conftest import Opener
from tests.conftest import ServerFactory

pytestmark = [pytest.mark.orthanc, pytest.mark.browser]


def paused(server: OrthancProcess) -> bool:
    return bool(server.json("GET", "/deferred-delete/status")["paused"])


def test_pausing_asks_first_and_both_say_their_result(server: OrthancProcess, open_page: Opener) -> None:
    page = open_page(f"{server.url}/bundle/").page
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("dialog")).to_contain_text("also after a restart of Orthanc")
    page.get_by_role("button", name="Cancel").click()
    assert not paused(server)
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_have_text("Paused. Deletions are recorded and wait.")
    assert paused(server)
    expect(page.locator("#deletion-words")).to_contain_text("Paused by an operator")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("alert")).to_contain_text("Resumed")
    assert not paused(server)


def test_draining_now_asks_first_and_empties_the_ledger(
    make_server: ServerFactory, small_study: list[Path], open_page: Opener
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 600}}) as server:
        for instance in http_upload(server, small_study[:5]):
            server.json("DELETE", f"/instances/{instance}")
        page = open_page(f"{server.url}/bundle/").page
        expect(page.locator("#deletion-words")).to_contain_text("their grace period is not over, until")
        page.get_by_role("button", name="Drain now…").click()
        expect(page.get_by_role("dialog")).to_contain_text("can no longer be brought back")
        page.get_by_role("dialog").get_by_role("button", name="Drain now").click()
        expect(page.locator("#deletion-words")).to_have_text("Nothing waits.")
        assert server.attachment_files() == []


def test_everything_works_by_keyboard(server: OrthancProcess, open_page: Opener) -> None:
    page = open_page(f"{server.url}/bundle/").page
    page.get_by_role("button", name="Pause").focus()
    state = page.locator("#state")
    expect(state).to_contain_text("As of")
    expect(state).not_to_have_text(state.inner_text())  # a refresh in between must not take the focus away
    expect(page.get_by_role("button", name="Pause")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Cancel")).to_be_focused()  # the harmless answer comes first
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Paused")
    page.keyboard.press("Escape")
    assert paused(server)


def test_an_action_that_fails_says_why(server: OrthancProcess, open_page: Opener) -> None:
    page = open_page(f"{server.url}/bundle/").page
    page.get_by_role("button", name="Pause").click()
    server.kill()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("Orthanc does not answer")
    expect(page.get_by_role("alert")).to_have_class("bad")


def test_the_users_of_orthanc_hold_for_the_page(make_server: ServerFactory, open_page: Opener) -> None:
    sections = {"DeferredDelete": {}, "AuthenticationEnabled": True, "RegisteredUsers": {"alice": "secret"}}
    with make_server(sections) as server:
        page = open_page(f"{server.url}/bundle/", http_credentials={"username": "alice", "password": "secret"}).page
        page.get_by_role("button", name="Pause").click()
        page.get_by_role("dialog").get_by_role("button", name="Pause").click()
        expect(page.get_by_role("alert")).to_contain_text("Paused")
        assert server.http.request("POST", f"{server.url}/deferred-delete/resume").status == 401
        assert paused(server)


class Proxy(BaseHTTPRequestHandler):
    """A reverse proxy that serves Orthanc below /pacs/, as an nginx with a prefix does."""

    target: ClassVar[str] = ""
    pool: ClassVar[urllib3.PoolManager] = urllib3.PoolManager()

    def forward(self) -> None:
        if not self.path.startswith("/pacs/"):
            self.send_error(404)
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        answer = self.pool.request(
            self.command, self.target + self.path.removeprefix("/pacs"), body=body, headers=headers
        )
        self.send_response(answer.status)
        for name in ("Content-Type", "Content-Security-Policy"):
            if name in answer.headers:
                self.send_header(name, answer.headers[name])
        self.end_headers()
        self.wfile.write(answer.data)

    def do_GET(self) -> None:
        self.forward()

    def do_POST(self) -> None:
        self.forward()

    def log_message(self, *_: object) -> None:
        pass


class Elsewhere(BaseHTTPRequestHandler):
    """A page of another site, with a form that posts to Orthanc as soon as it is shown."""

    target: ClassVar[str] = ""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        form = f'<form method="post" action="{self.target}/deferred-delete/pause"><button>win</button></form>'
        self.wfile.write(form.encode())

    def log_message(self, *_: object) -> None:
        pass


def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()
        thread.join()


@pytest.fixture
def proxy(server: OrthancProcess) -> Iterator[str]:
    Proxy.target = server.url
    yield from serving(Proxy)


@pytest.fixture
def elsewhere(server: OrthancProcess) -> Iterator[str]:
    Elsewhere.target = server.url
    yield from serving(Elsewhere)


def test_the_page_works_below_a_prefix_of_a_reverse_proxy(
    server: OrthancProcess, proxy: str, open_page: Opener
) -> None:
    opened = open_page(f"{proxy}/pacs/bundle/")
    page = opened.page
    expect(page.locator("#state")).to_contain_text("As of")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("Paused")
    assert paused(server)
    assert opened.complaints == []


def test_a_page_of_another_site_changes_nothing(server: OrthancProcess, elsewhere: str, open_page: Opener) -> None:
    page = open_page(elsewhere).page
    with page.expect_navigation():
        page.get_by_role("button", name="win").click()
    expect(page.locator("body")).to_contain_text("refused")
    assert not paused(server)
