"""`make bench-transcoding` itself, as small as it gets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE

pytestmark = pytest.mark.orthanc


def test_a_tiny_run_writes_a_table_and_the_samples(tmp_path: Path) -> None:
    small = ["--slices", "3", "--side", "64", "--studies", "phantom", "--targets", ".70", "--clients", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.transcoding", *small, "--alone", "--folder", str(tmp_path)],
        cwd=BUNDLE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    samples = json.loads((tmp_path / "transcoding.json").read_text())
    assert {(one["variant"], one["sender"]) for one in samples} >= {
        (variant, sender) for variant in ("native .70, DCMTK", ".70", ".70 alone") for sender in ("HTTP", "storescu")
    }
    table = (tmp_path / "transcoding.md").read_text()
    assert "| native .70, DCMTK |" in table
    assert "(1.00)" in table
