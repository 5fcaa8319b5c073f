"""scripts/setup on machines that lack something: it prints one line that says what to do.

That it succeeds elsewhere needs no test: all others run in what it made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE

TOOLS = (
    "bash",
    "cat",
    "cut",
    "dirname",
    "env",
    "head",
    "id",
    "ldd",
    "mktemp",
    "rm",
    "sed",
    "sha256sum",
    "tail",
    "tee",
    "chmod",
)


def run(tmp_path: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """Runs a copy of the script where only TOOLS and `programs` (name: body of a shell script) can be found."""
    place = tmp_path / "bundle"
    (place / "scripts").mkdir(parents=True)
    (place / "requirements").mkdir()
    for script in ("setup", "embedded-python"):
        shutil.copy(BUNDLE / "scripts" / script, place / "scripts" / script)
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    for name, body in programs.items():
        path = folder / name.replace("_", "-")
        path.unlink(missing_ok=True)
        path.write_text(f"#!{shutil.which('bash')}\n{body}\n")
        path.chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    return subprocess.run(
        [bash, str(place / "scripts" / "setup")],
        env={"PATH": str(folder), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


INSTALLED = "echo -n installed"

CASES = [
    # Not Debian at all.
    ("no dpkg", {}, "setup: this is not Debian (no dpkg-query): install orthanc orthanc-python dcmtk"),
    # A user without rights and without sudo.
    (
        "no sudo",
        {"dpkg_query": "exit 1", "id": "echo 1000"},
        "setup: missing packages, and no right to install them: run as root 'apt-get install orthanc",
    ),
    # sudo would ask for a password, and nobody is there to type it.
    (
        "sudo asks",
        {"dpkg_query": "exit 1", "id": "echo 1000", "sudo": "exit 1"},
        "setup: missing packages, and no right to install them: run as root 'apt-get install orthanc",
    ),
    # The plugin is linked to a Python that is not installed.
    (
        "other Python",
        {"dpkg_query": INSTALLED, "ldd": "echo 'libpython3.99.so.1.0 => /nowhere'"},
        "setup: Orthanc embeds Python 3.99, but /usr/bin/python3.99 is missing",
    ),
    # A newer Debian's, which nobody has locked the libraries for.
    (
        "no lock file",
        {"dpkg_query": INSTALLED},
        f"setup: Orthanc embeds Python 3.{sys.version_info.minor}, for which there is no requirements/py",
    ),
]


@pytest.mark.parametrize(("programs", "line"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_what_is_missing_is_named_in_one_line(tmp_path: Path, programs: dict[str, str], line: str) -> None:
    if programs.get("dpkg_query") == INSTALLED and not Path("/usr/share/orthanc/plugins/libOrthancPython.so").exists():
        pytest.skip("needs orthanc-python's file")
    done = run(tmp_path, **programs)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith(line)


def test_a_failing_apt_get_shows_its_last_lines(tmp_path: Path) -> None:
    done = run(
        tmp_path,
        dpkg_query="exit 1",
        id="echo 0",
        apt_get="echo E: Unable to locate package orthanc; exit 100",
        tee="cat",
        chmod=":",
    )
    assert done.returncode == 1
    assert "E: Unable to locate package orthanc" in done.stderr
    assert "setup: apt-get could not install orthanc" in done.stderr.splitlines()[-1]
