"""`make screenshot`: writes docs/images/operators-page.png, a picture of the operators' page with data on it.

A real Orthanc with the bundle receives a synthetic study over HTTP and C-STORE while another one is deleted in the
background. Debian's Chromium takes the picture.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from harness.orthanc_process import BUNDLE, OrthancError, OrthancProcess, base_configuration
from harness.phantom import make_study
from harness.senders import http_upload, storescu

PICTURE = BUNDLE / "docs" / "images" / "operators-page.png"
SECTIONS = {
    "DeferredDelete": {"GracePeriod": 600},
    "IngestTranscoder": {"Default": "HTJ2KLossless"},
    "IngestGuard": {},
    "StageTiming": {},
    "DicomAssociations": {},
}


def fill(server: OrthancProcess, folder: Path) -> None:
    """Stores a study and deletes it in the background, and stores another one."""
    (gone,) = {
        str(server.json("GET", f"/instances/{one}/study")["ID"])
        for one in http_upload(server, make_study(folder / "gone", slices=40, side=256, seed=2))
    }
    server.json("POST", "/deferred-delete/studies", [gone])
    study = make_study(folder / "study", slices=120, side=256, seed=1)
    http_upload(server, study[:60])
    storescu(server, study[60:], calling="CT_SCANNER_1")


def main() -> int:
    """Writes the picture; 1 with one line where something is missing."""
    with tempfile.TemporaryDirectory(prefix="screenshot") as name, sync_playwright() as playwright:
        place = Path(name)
        server = OrthancProcess(place / "server", base_configuration(place / "server", bundle=True) | SECTIONS)
        try:
            with server:
                browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1100, "height": 800}, locale="en-GB")
                page.goto(f"{server.url}/bundle/")
                time.sleep(5)
                fill(server, place)
                time.sleep(5)
                PICTURE.parent.mkdir(exist_ok=True)
                page.screenshot(path=PICTURE, full_page=True)
                browser.close()
        except OrthancError as error:
            print(f"screenshot: {error}", file=sys.stderr)
            return 1
    print(PICTURE.relative_to(BUNDLE))
    return 0


if __name__ == "__main__":
    sys.exit(main())
