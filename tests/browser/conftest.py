"""Debian's Chromium without a screen, driven by Playwright.

Pictures of each state go to a folder outside the repository.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
# Besides running as root and without a screen: no telephoning home, which a closed network refuses noisily.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# Half of Orthanc's answers come within milliseconds; the page asks every two seconds.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        if os.environ.get("CI"):
            pytest.fail(f"{CHROMIUM} is missing: run 'make setup-dev'")
        pytest.skip(f"{CHROMIUM} is missing: run 'make setup-dev'")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGUMENTS)
        yield browser
        browser.close()


class OpenPage:
    """A page, and what it complained about."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", lambda message: self.complaints.append(message.text) if message.type == "error" else None)


Opener = Callable[..., OpenPage]


@pytest.fixture
def open_page(chromium: Browser) -> Iterator[Opener]:
    """Opens a URL in a context of its own.

    Keywords are Playwright's (viewport, color_scheme, timezone_id, http_credentials).
    """
    contexts: list[BrowserContext] = []

    def open_url(url: str, **options: Any) -> OpenPage:
        context = chromium.new_context(**({"locale": "en-GB", "viewport": {"width": 1280, "height": 900}} | options))
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        opened = OpenPage(context.new_page())
        opened.page.goto(url)
        return opened

    yield open_url
    for context in contexts:
        context.close()


@pytest.fixture
def picture(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[[Page, str], None]:
    """Keeps a picture of a state: in the folder SCREENSHOTS where it is set, else with the test's own files."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path / "screenshots"))
    folder.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        page.screenshot(path=folder / f"{name}.png", full_page=True)

    return take
