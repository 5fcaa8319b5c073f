"""Following a log that is being written, across rotation, until Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from timing.logs.follow import FollowedFile

ROOT = Path(__file__).parents[3]
BEGUN = "I1110 10:00:0{0}.000000 main.cpp:1] Incoming Store request from AET A on IP 10.0.0.1, calling AET B\n"
STORED = "I1110 10:00:0{0}.050000 ServerContext.cpp:1] New instance stored\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "orthanc.log"


@pytest.fixture
def file(path: Path) -> Iterator[FollowedFile]:
    followed = FollowedFile(path)
    yield followed
    followed.close()


def append(path: Path, text: str) -> None:
    with path.open("a") as stream:
        stream.write(text)


def test_a_log_that_is_not_there_yet_is_waited_for(file: FollowedFile, path: Path) -> None:
    assert file.read() == []
    append(path, "one\n")
    assert file.read() == ["one\n"]


def test_a_line_comes_when_its_end_is_written(file: FollowedFile, path: Path) -> None:
    append(path, "one\ntw")
    assert file.read() == ["one\n"]
    append(path, "o\n")
    assert file.read() == ["two\n"]


def test_what_was_written_before_renaming_and_after_is_read(file: FollowedFile, path: Path) -> None:
    append(path, "one\n")
    file.read()
    append(path, "two\nthr")
    path.rename(path.with_suffix(".log.1"))
    append(path.with_suffix(".log.1"), "ee\nlast, cut short")
    append(path, "four\n")
    assert [line for _ in range(4) for line in file.read()] == ["two\n", "three\n", "last, cut short", "four\n"]
    assert file.rotations == 1


def test_between_renaming_and_the_new_file_the_old_one_is_still_read(file: FollowedFile, path: Path) -> None:
    append(path, "one\n")
    file.read()
    path.rename(path.with_suffix(".log.1"))
    append(path.with_suffix(".log.1"), "two\n")
    assert file.read() == ["two\n"]
    assert file.read() == []


def until_read(pid: int, path: Path) -> None:
    """Until a process has read a file to its end: its position there says so."""

    def position(descriptor: Path) -> int:
        try:
            if descriptor.readlink() != path:
                return 0
            return int(Path(f"/proc/{pid}/fdinfo/{descriptor.name}").read_text().split()[1])
        except FileNotFoundError:
            return 0

    deadline = time.monotonic() + 60
    while not any(position(each) == path.stat().st_size for each in Path(f"/proc/{pid}/fd").iterdir()):
        assert time.monotonic() < deadline, "the new log is not read"
        time.sleep(0.01)


# What a truncated log holds when it is looked at again: less than before, or more.
@pytest.mark.parametrize("anew", ["x\n", "x" * 100 + "\n"], ids=["shorter", "grown beyond"])
def test_a_log_that_is_copied_and_truncated_is_read_from_its_beginning(
    file: FollowedFile, path: Path, anew: str
) -> None:
    append(path, "one\ntwo\nthr")
    file.read()
    os.truncate(path, 0)
    append(path, anew)
    assert file.read() == [anew]
    assert file.rotations == 1


def test_a_line_without_end_comes_in_pieces_and_not_all_at_once(file: FollowedFile, path: Path) -> None:
    append(path, "x" * 1_000_000)
    assert max(map(len, file.read())) <= 8192


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_command_follows_a_log_and_prints_its_report_when_it_is_stopped(path: Path, end: signal.Signals) -> None:
    append(path, BEGUN.format(0) + STORED.format(0))
    page = path.with_name("page.html")
    # Where the tests run in the background of a shell, Ctrl-C is ignored, and a child would inherit that.
    heard = ["env", "--default-signal=INT"]
    command = [*heard, sys.executable, "-u", "-m", "timing", "read", "--follow", "--html", str(page), str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it says at once that it has begun
        append(path, BEGUN.format(1) + STORED.format(1))
        path.rename(path.with_suffix(".log.1"))
        append(path, BEGUN.format(2) + STORED.format(2))
        until_read(process.pid, path)
        process.send_signal(end)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "C-STORE: 3 instances" in out
    assert "1 rotations" in out
    assert page.read_text().startswith("<!DOCTYPE html>")


def test_standard_input_is_not_followed(capsys: pytest.CaptureFixture[str]) -> None:
    from timing.__main__ import main

    with pytest.raises(SystemExit) as status:
        main(["read", "--follow", "-"])
    assert status.value.code == 2
    assert "--follow needs a file" in capsys.readouterr().err
