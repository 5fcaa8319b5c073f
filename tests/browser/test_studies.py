"""Whole studies on the page: deletion in the background with progress, restore with a confirmation, and errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload
from tests.browser.conftest import Opener
from tests.conftest import ServerFactory
from tests.integration.test_restore import full_server, stuck_restore

pytestmark = [pytest.mark.orthanc, pytest.mark.browser]

Picture = Callable[[Page, str], None]


def ask_to_delete(page: Page, orthanc_id: str) -> None:
    page.get_by_placeholder("Orthanc identifier").fill(orthanc_id)
    page.get_by_role("button", name="Delete…").click()


def test_a_study_is_deleted_in_the_background_and_brought_back(
    make_server: ServerFactory, small_study: list[Path], open_page: Opener, picture: Picture
) -> None:
    with make_server({"DeferredDelete": {"GracePeriod": 600}}) as server:
        http_upload(server, small_study)
        (study,) = server.json("GET", "/studies")
        opened = open_page(f"{server.url}/bundle/")
        page = opened.page
        ask_to_delete(page, study)
        expect(page.get_by_role("dialog")).to_contain_text("they can be brought back")
        page.get_by_role("button", name="Cancel").click()
        assert server.json("GET", "/studies") == [study]
        page.get_by_role("button", name="Delete…").click()
        page.get_by_role("dialog").get_by_role("button", name="Delete").click()
        expect(page.get_by_role("alert")).to_contain_text("Accepted: 1 queued")
        expect(page.locator("#studies tbody tr")).to_contain_text(f"study {study}done40 of 40")
        assert server.json("GET", "/studies") == []
        row = page.locator("#restorable tbody tr")
        expect(row).to_contain_text("Phantom^Synthetic")
        expect(row).to_contain_text("Synthetic CT phantom")
        # The dialog says what the row said: files are looked at one after the other.
        expect(row.get_by_role("cell", name="40", exact=True)).to_be_visible()
        picture(page, "restorable")
        row.get_by_role("button", name="Restore…").click()
        expect(page.get_by_role("dialog")).to_contain_text("40 instances")
        page.get_by_role("dialog").get_by_role("button", name="Restore").click()
        expect(page.locator("#restores tbody tr")).to_contain_text("done")
        picture(page, "restored")
        assert server.json("GET", "/statistics")["CountInstances"] == 40
        assert opened.complaints == []


def test_a_restore_that_gets_nowhere_is_cancelled(
    make_server: ServerFactory,
    small_study: list[Path],
    small_disk: Path,
    tmp_path: Path,
    open_page: Opener,
    picture: Picture,
) -> None:
    with full_server(make_server, small_disk, tmp_path / "ledger.db") as server:
        stuck_restore(server, small_disk, small_study[:5])
        opened = open_page(f"{server.url}/bundle/")
        row = opened.page.locator("#restores tbody tr")
        expect(row).to_contain_text("importing")
        expect(row).to_contain_text("POST /instances: HTTP 5")
        picture(opened.page, "restore in trouble")
        row.get_by_role("button", name="Cancel…").click()
        expect(opened.page.get_by_role("dialog")).to_contain_text("wait for their deletion again")
        opened.page.get_by_role("dialog").get_by_role("button", name="Stop").click()
        expect(opened.page.get_by_role("alert")).to_contain_text("Stopped. 0 of 5 instances are back")
        expect(row).to_contain_text("cancelled")
        expect(row.get_by_role("button")).to_have_count(0)
        assert opened.complaints == []


def test_what_is_no_identifier_is_not_sent_and_what_is_unknown_is_said(
    server: OrthancProcess, open_page: Opener
) -> None:
    page = open_page(f"{server.url}/bundle/").page
    ask_to_delete(page, "CT of Mr. Smith")
    expect(page.get_by_role("dialog")).to_have_count(0)
    unknown = "-".join(["0badcafe"] * 5)
    ask_to_delete(page, unknown)
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(page.locator("#studies tbody tr")).to_contain_text("unknown")


def test_a_name_that_is_markup_is_shown_as_text(make_server: ServerFactory, open_page: Opener, tmp_path: Path) -> None:
    from pydicom import dcmread

    from harness.phantom import make_study

    (path,) = make_study(tmp_path / "evil", slices=1, side=32, seed=3)
    dataset = dcmread(path)
    dataset.PatientID = "x"
    dataset.PatientName = "<img src=x onerror=alert()>"
    dataset.StudyDescription = "<b>bold</b>"
    dataset.save_as(path)
    with make_server({"DeferredDelete": {"GracePeriod": 600}}) as server:
        (instance,) = http_upload(server, [path])
        server.json("DELETE", f"/instances/{instance}")
        opened = open_page(f"{server.url}/bundle/")
        expect(opened.page.locator("#restorable tbody tr")).to_contain_text("<img src=x")
        expect(opened.page.locator("#restorable")).to_contain_text("<b>bold</b>")
        assert opened.page.title() == "Ingest and deletion"
        assert opened.complaints == []
