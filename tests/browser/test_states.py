"""What an operator sees: first start, busy, paused, failing, unreachable.

In both colour schemes, on a telephone, and by keyboard.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload, storescu
from tests.browser.conftest import Opener
from tests.conftest import ServerFactory

pytestmark = [pytest.mark.orthanc, pytest.mark.browser]

Picture = Callable[[Page, str], None]


def test_first_start_says_that_nothing_was_stored_yet(
    server: OrthancProcess, open_page: Opener, picture: Picture
) -> None:
    opened = open_page(f"{server.url}/bundle/")
    expect(opened.page.locator("#state")).to_contain_text("As of")
    expect(opened.page.locator("#shares")).to_have_text("No instance was stored yet.")
    expect(opened.page.locator("#deletion-words")).to_have_text("Nothing waits.")
    picture(opened.page, "first-start")
    assert opened.complaints == []


def test_the_address_without_a_slash_leads_to_the_page(server: OrthancProcess, open_page: Opener) -> None:
    page = open_page(f"{server.url}/bundle?x=1").page
    expect(page).to_have_url(f"{server.url}/bundle/?x=1")
    expect(page.locator("#state")).to_contain_text("As of")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")])
def test_a_busy_server_looks_right_in_every_size_and_scheme(
    server: OrthancProcess, small_study: list[Path], open_page: Opener, picture: Picture, width: int, scheme: str
) -> None:
    http_upload(server, small_study[:20])
    storescu(server, small_study[20:])
    opened = open_page(f"{server.url}/bundle/", viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = opened.page
    expect(page.locator("#waterfall .row")).to_have_count(12)
    expect(page.locator("#shares .row")).to_have_count(2)
    expect(page.locator("#rate-chart canvas")).to_be_visible()
    expect(page.locator("#transcoding table")).to_contain_text("transcoded")
    expect(page.locator("#clients tbody")).to_contain_text("STORESCU")
    expect(page.locator("#memory")).to_contain_text("peak")
    expect(page.locator("#guard")).to_have_text("None. 40 files were looked at.")
    picture(page, f"busy-{width}-{scheme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing sticks out sideways"
    assert opened.complaints == []


def test_sections_that_are_off_are_named_and_not_shown(make_server: ServerFactory, open_page: Opener) -> None:
    with make_server({"DicomAssociations": {}}) as server:
        page = open_page(f"{server.url}/bundle/").page
        expect(page.locator("#off")).to_contain_text(
            "Off in orthanc.json: DeferredDelete, IngestTranscoder, IngestGuard, StageTiming"
        )
        expect(page.locator("#deletion-title")).to_be_hidden()
        expect(page.locator("#associations-title")).to_be_visible()


def test_times_are_in_the_viewer_s_zone(server: OrthancProcess, small_study: list[Path], open_page: Opener) -> None:
    http_upload(server, small_study[:1])
    labels = []
    for zone in ("Asia/Tokyo", "America/New_York"):
        page = open_page(f"{server.url}/bundle/", timezone_id=zone).page
        row = page.locator("#waterfall .row > span").first
        expect(row).to_contain_text("HTTP")
        labels.append(row.inner_text())
    assert labels[0] != labels[1]


def test_a_server_that_went_away_is_said_and_found_again(
    make_server: ServerFactory, open_page: Opener, picture: Picture
) -> None:
    server = make_server()
    with server:
        page = open_page(f"{server.url}/bundle/").page
        expect(page.locator("#state")).to_contain_text("As of")
        server.kill()
        expect(page.locator("#state")).to_contain_text("Orthanc does not answer: what is shown is old")
        expect(page.locator("#deletion-words")).to_have_text("Nothing waits.")  # what was known stays
        picture(page, "unreachable")
        server.start()
        expect(page.locator("#state")).to_contain_text("As of")


def test_what_is_not_possible_here_is_said_in_the_server_s_words(server: OrthancProcess, open_page: Opener) -> None:
    """As behind client certificates, over which 1.10.1 cannot be asked at all: so the three answers are made up."""
    page = open_page(f"{server.url}/bundle/").page
    words = '{"HttpStatus": 409, "Message": "not possible: SslVerifyPeers: true"}'
    for path in ("studies", "studies/deleted", "restore"):
        page.route(f"**/deferred-delete/{path}", lambda route: route.fulfill(status=409, body=words))
    expect(page.locator("#state")).to_contain_text("HTTP 409, not possible: SslVerifyPeers: true")


def test_failed_deletions_are_shown_with_their_error(
    make_server: ServerFactory, small_study: list[Path], open_page: Opener, picture: Picture
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 0, "RetryMin": 600}}) as server:
        instance = http_upload(server, small_study[:1])[0]
        file = server.attachment_files()[0]
        # Unlinking a folder fails for root as well.
        file.unlink()
        file.mkdir()
        (file / "occupied").touch()
        server.json("DELETE", f"/instances/{instance}")
        page = open_page(f"{server.url}/bundle/").page
        expect(page.locator("#deletion-words")).to_contain_text("could not be deleted and will be tried again")
        expect(page.locator("#deletion-words")).to_have_class("words bad")
        expect(page.locator("#failures tbody tr")).to_have_count(1)
        expect(page.locator("#failures")).to_contain_text(file.name)
        picture(page, "failing")
        (file / "occupied").unlink()
        file.rmdir()
        page.get_by_role("button", name="Retry failures").click()
        expect(page.get_by_role("alert")).to_have_text("What failed is tried again now.")
        expect(page.locator("#deletion-words")).to_have_text("Nothing waits.")


@pytest.mark.in_memory
def test_a_million_pending_rows_do_not_slow_the_page(make_server: ServerFactory, open_page: Opener) -> None:
    server = make_server({"DeferredDelete": {"GracePeriod": 0}})
    with server:
        server.json("POST", "/deferred-delete/pause")
    with sqlite3.connect(server.storage / "deferred-deletions.db") as ledger:
        ledger.execute(
            "INSERT INTO pending (attachment_uuid, content_type, enqueued_at, next_attempt_at) "
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000) "
            "SELECT printf('%08x-0000-4000-8000-%012x', i, i), 1, 0, 0 FROM n"
        )
    ledger.close()
    with server:
        page = open_page(f"{server.url}/bundle/").page
        expect(page.locator("#deletion-words")).to_contain_text("1,000,000 files wait, none is deleted")
