"""The ingest benchmark runs, resumes and writes; nothing is said of speed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE

pytestmark = pytest.mark.orthanc


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench", "ingest", "--folder", str(folder), "--slices", "6", "--rounds", "1"]
    return subprocess.run([*command, *arguments], cwd=BUNDLE, capture_output=True, text=True, timeout=280, check=False)


def test_a_small_run_writes_its_tables_and_pictures_and_is_not_repeated(tmp_path: Path) -> None:
    folder = tmp_path / "bench results"
    first = bench(folder, "--tables", "http", "orthanc", "--rows", "native", "bundle", "--quick")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "| bundle |" in first.stdout
    assert (folder / "ingest-quick.md").read_text() in first.stdout + "\n"
    assert (folder / "ingest-orthanc.svg").stat().st_size > 1000
    lines = (folder / "ingest-quick.jsonl").read_text().splitlines()
    assert len(lines) == 1 + 4 + 4
    again = bench(folder, "--tables", "http", "orthanc", "--rows", "native", "bundle", "--quick")
    assert "8 of 8 cells are known from before" in again.stdout
    assert (folder / "ingest-quick.jsonl").read_text().splitlines() == lines


def test_a_folder_without_dicom_is_refused_in_words(tmp_path: Path) -> None:
    done = bench(tmp_path, "--study", str(tmp_path))
    assert done.returncode == 2
    assert "expected a folder with DICOM files" in done.stderr
    assert bench(tmp_path / "x", "--study", "/nowhere").returncode == 2


def test_moves_to_a_storage_scp_and_senders_with_an_environment_work(tmp_path: Path) -> None:
    """Of these tables the quick run has nothing."""
    done = bench(tmp_path, "--tables", "move", "environment", "--rows", "native")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((tmp_path / "ingest.jsonl").read_text().splitlines()) == 1 + 3 + 3
