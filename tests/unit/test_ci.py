""".ci/run and scripts/bare-debian: whatever ends them, what they started ends too, and nothing is left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE

ENDLESS = "trap 'exit 0' TERM; echo $$ >{pid}; while :; do sleep 0.1; done"
DEADLINE_S = 60
# Random, because another run of these tests, in the bare Debian itself, may be seen from here.
SUITE = f"test-{uuid.uuid4().hex}"


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """What a test started; a test that failed leaves nothing running."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    for pid in running_with(SUITE):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def program(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{body}\n")
    path.chmod(0o755)
    return path


def start(command: list[str], tmp_path: Path, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    """With the programs of tmp_path/bin found first."""
    environment = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "TMPDIR": str(tmp_path / "tmp")}
    (tmp_path / "tmp").mkdir()
    # Where pytest runs in the background of a script, SIGINT is ignored, and bash cannot trap what it finds ignored.
    command = ["env", "--default-signal=INT,TERM,HUP", *command]
    with (tmp_path / "output").open("w") as output:
        process = subprocess.Popen(
            command, env=environment, stdout=output, stderr=subprocess.STDOUT, text=True, start_new_session=True
        )
    started.append(process)
    return process


def pid_in(path: Path) -> int:
    """The process that wrote its number there, when it has."""
    deadline = time.monotonic() + DEADLINE_S
    while not (path.is_file() and path.read_text().endswith("\n")):
        assert time.monotonic() < deadline, f"{path.name}: not started"
        time.sleep(0.05)
    return int(path.read_text())


def assert_ends(pid: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.05)


def ci_run(tmp_path: Path, *, make: str, bare: str) -> list[str]:
    """A copy of .ci/run beside a scripts/bare-debian and a `make` that do as told."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(BUNDLE / ".ci" / "run", tmp_path / ".ci" / "run")
    program(tmp_path / "scripts" / "bare-debian", bare)
    program(tmp_path / "bin" / "make", f'[ "$1" = test ] || exit 0\n{make}')
    return [str(tmp_path / ".ci" / "run")]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGKILL"])
def test_what_ends_ci_ends_both_halves(tmp_path: Path, started: list[subprocess.Popen[str]], name: str) -> None:
    here, bare = tmp_path / "here.pid", tmp_path / "bare.pid"
    command = ci_run(tmp_path, make=ENDLESS.format(pid=here), bare=ENDLESS.format(pid=bare))
    process = start(command, tmp_path, started)
    halves = [pid_in(here), pid_in(bare)]
    process.send_signal(signal.Signals[name])
    try:
        assert process.wait(DEADLINE_S) != 0
        for pid in halves:
            assert_ends(pid)
    finally:
        for pid in halves:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert name == "SIGKILL" or not list((tmp_path / "tmp").iterdir())


CLOSING = [
    # This machine's half stops before any test.
    ("echo no compiler; exit 2", "echo '3 passed in 1.5s'", 1, ["no test was run: see above", "3 passed in 1.5s"]),
    # The other half does.
    ("echo '4 passed in 2.5s'", "echo no mirror; exit 1", 1, ["4 passed in 2.5s", "no test was run: see above"]),
    ("echo '4 passed in 2.5s'", "echo '3 passed in 1.5s'", 0, ["4 passed in 2.5s", "3 passed in 1.5s"]),
]


@pytest.mark.parametrize(("make", "bare", "status", "lines"), CLOSING, ids=["here fails", "bare fails", "both pass"])
def test_both_halves_are_reported_whichever_fails(
    tmp_path: Path, started: list[subprocess.Popen[str]], make: str, bare: str, status: int, lines: list[str]
) -> None:
    process = start(ci_run(tmp_path, make=make, bare=bare), tmp_path, started)
    assert process.wait(DEADLINE_S) == status
    assert (tmp_path / "output").read_text().splitlines()[-2:] == lines
    assert not list((tmp_path / "tmp").iterdir())


def bare_debian(tmp_path: Path, debootstrap: str, command: str) -> list[str]:
    """A copy of the script in a repository of its own, with a debootstrap that does as told and no real chroot."""
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    # unshare(1) makes the mounts private from "/" on, which has to be one (a bare Debian's own "/" is a mere folder).
    if not any(line.split()[4] == "/" for line in Path("/proc/self/mountinfo").read_text().splitlines()):
        pytest.skip("in a chroot, whose root is no mount, no mounts of one's own can be had")
    shutil.copy(BUNDLE / "scripts" / "bare-debian", program(tmp_path / "project" / "scripts" / "bare-debian", ""))
    subprocess.run(["git", "init", "-q", str(tmp_path / "project")], check=True)
    program(tmp_path / "bin" / "debootstrap", debootstrap)
    program(tmp_path / "bin" / "chroot", 'exec bash -c "${@: -1}"')
    return [str(tmp_path / "project" / "scripts" / "bare-debian"), SUITE, command]


def left_behind() -> list[str]:
    mounted = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"bare-{SUITE}" in line]
    return mounted + [str(path) for path in Path("/var/tmp").glob(f"bare-{SUITE}.*")]


FOLDERS = 'for last; do [ -d "$last" ] && mkdir -p "$last"/{proc,sys,dev,root,usr/local/share,etc/apt}; done; true'


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP"])
@pytest.mark.parametrize("during", ["debootstrap", "the command"])
def test_an_interrupted_bare_debian_leaves_nothing(
    tmp_path: Path, started: list[subprocess.Popen[str]], name: str, during: str
) -> None:
    mark = tmp_path / "started"
    endless = f"trap '' TERM INT HUP; : {SUITE}; touch {mark}; while :; do sleep 0.1; done"
    command = bare_debian(tmp_path, endless if during == "debootstrap" else FOLDERS, endless)
    process = start(command, tmp_path, started)
    deadline = time.monotonic() + DEADLINE_S
    while not mark.is_file():
        assert time.monotonic() < deadline, (tmp_path / "output").read_text()
        time.sleep(0.05)
    assert running_with(SUITE), "the process that should end is not seen"
    assert left_behind(), "the folder that should go is not seen"
    process.send_signal(signal.Signals[name])
    assert process.wait(DEADLINE_S) in {130, 143}
    assert not running_with(SUITE)
    assert not left_behind()


def running_with(text: str) -> list[int]:
    """Processes with `text` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().decode(errors="replace")
        except OSError:
            continue
        if text in line:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("status", [0, 7])
def test_a_finished_bare_debian_leaves_nothing_and_ends_as_its_command_did(
    tmp_path: Path, started: list[subprocess.Popen[str]], status: int
) -> None:
    process = start(bare_debian(tmp_path, FOLDERS, f"mount | grep -c bare-{SUITE}; exit {status}"), tmp_path, started)
    assert process.wait(DEADLINE_S) == status, (tmp_path / "output").read_text()
    assert not left_behind()


def test_a_debootstrap_that_fails_is_named_and_leaves_nothing(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    process = start(bare_debian(tmp_path, "echo E: no such suite; exit 1", "true"), tmp_path, started)
    assert process.wait(DEADLINE_S) == 1
    output = (tmp_path / "output").read_text()
    assert "E: no such suite" in output
    assert "bare-debian: debootstrap could not make a Debian" in output.splitlines()[-1]
    assert not left_behind()
