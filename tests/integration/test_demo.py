"""`make run`, from its Python entry on: the job succeeds, and says in one line why when it cannot."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from harness.free_ports import free_port
from harness.orthanc_process import BUNDLE

pytestmark = [pytest.mark.orthanc, pytest.mark.in_memory, pytest.mark.slow, pytest.mark.timeout(900)]


def run(folder: Path, **ports: int) -> subprocess.CompletedProcess[str]:
    given = {"http": free_port(), "dicom": free_port()} | ports
    arguments = [f"--http-port={given['http']}", f"--dicom-port={given['dicom']}", f"--storage={folder / 'sto rage'}"]
    return subprocess.run(
        [str(BUNDLE / "env" / "bin" / "python"), "-m", "harness.demo", *arguments],
        cwd=BUNDLE,
        capture_output=True,
        text=True,
        check=False,
        timeout=880,
        env=os.environ | {"RUN_ONCE": "1"},
    )


def test_the_job_ends_with_status_0_and_tells_what_it_did(servers_folder: Path) -> None:
    done = run(servers_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    for part in ("storescu", "bit for bit", "commit", "files are gone", "/bundle/"):
        assert part in done.stdout


@pytest.mark.parametrize(("name", "variable"), [("http", "HTTP_PORT"), ("dicom", "DICOM_PORT")])
def test_a_port_in_use_is_named_with_the_way_out(tmp_path: Path, name: str, variable: str) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        done = run(tmp_path, **{name: taken.getsockname()[1]})
    assert done.returncode == 1
    assert "is in use" in done.stdout
    assert f"make run {variable}=" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
