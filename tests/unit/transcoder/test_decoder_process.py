"""The decoder process and its supervisor: whatever a decoder does, it costs one instance and never this process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.orthanc_process import BUNDLE
from transcoder import Reason
from transcoder.decoding import interpreter, self_test
from transcoder.decoding.process import DecoderProcess, DiedError, Launch
from transcoder.decoding.protocol import Family
from transcoder.decoding.supervisor import Decoder
from transcoder.outcome import KeptError

ROGUE = "tests.support.rogue_decoders"
REQUEST = self_test.REQUESTS[Family.RLE]
GOOD = b"\x07" * 16
MB = 1 << 20
PATIENCE_S = 60.0


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def rogue(clock: Clock) -> Iterator[Decoder]:
    decoder = Decoder(512 * MB, PATIENCE_S, decoders=ROGUE, clock=clock)
    decoder.start()
    yield decoder
    decoder.stop()


def asked(decoder: Decoder, *streams: bytes) -> bytes:
    return bytes(decoder.decode(REQUEST, streams))


def refusal(decoder: Decoder, *streams: bytes) -> KeptError:
    with pytest.raises(KeptError) as error:
        decoder.decode(REQUEST, streams)
    return error.value


def answers(decoder: Decoder) -> bool:
    """Whether it does, or rests."""
    try:
        return asked(decoder, b"good") == GOOD
    except KeptError as kept:
        if kept.reason is not Reason.DECODER_RESTING:
            raise
        return False


def gone(pid: int, deadline_s: float = 60.0) -> bool:
    """Whether a process is no more, or a zombie, within the deadline."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("family", Family)
def test_the_real_decoders_give_the_self_test_back(family: Family) -> None:
    decoder = Decoder(512 * MB, 5.0)
    decoder.start()
    try:
        twice = decoder.decode(self_test.REQUESTS[family], [self_test.STREAMS[family]] * 2)
    finally:
        decoder.stop()
    assert bytes(twice) == self_test.PIXELS * 2


@pytest.mark.parametrize(
    ("stream", "reason", "detail"),
    [
        (b"segfault", Reason.DECODER_DIED, "ended by SIGSEGV"),
        (b"abort", Reason.DECODER_DIED, "ended by SIGABRT"),
        (b"kill", Reason.DECODER_DIED, "ended by SIGKILL"),
        (b"exit", Reason.DECODER_DIED, "ended with status 3"),
        (b"short", Reason.DECODER_DIED, "answers what was not asked"),
        (b"lie", Reason.DECODER_DIED, "answers what was not asked"),
        (b"hang", Reason.DECODER_TIMED_OUT, "not within 1 s"),
        (b"spin", Reason.DECODER_TIMED_OUT, "not within 1 s"),
        (b"eat", Reason.DECODER_MEMORY, "MemoryError"),
        (b"eat-below", Reason.DECODER_REFUSED, "Cannot allocate memory"),
        (b"recursion", Reason.DECODER_REFUSED, "RecursionError"),
        (b"panic", Reason.DECODER_REFUSED, "Panic: thread"),
        (b"nonsense", Reason.DECODER_REFUSED, "not understood"),
    ],
)
def test_whatever_a_decoder_does_costs_one_instance(rogue: Decoder, stream: bytes, reason: Reason, detail: str) -> None:
    first = rogue.state.pid
    if reason is Reason.DECODER_TIMED_OUT:
        rogue._budget_s = 1.0
    kept = refusal(rogue, b"good", stream, b"good")
    rogue._budget_s = PATIENCE_S
    assert kept.reason is reason
    assert kept.detail.startswith("frame 1: ")
    assert detail in kept.detail
    assert kept.detail.isprintable()
    died = reason in {Reason.DECODER_DIED, Reason.DECODER_TIMED_OUT}
    assert rogue.state.deaths == died
    assert asked(rogue, b"good") == GOOD, "the next instance finds a worker"
    if died or reason is Reason.DECODER_MEMORY:
        assert gone(first)
        assert rogue.state.pid not in {0, first}


def test_a_worker_that_was_killed_while_idle_costs_nothing(rogue: Decoder) -> None:
    os.kill(rogue.state.pid, signal.SIGKILL)
    assert gone(rogue.state.pid)
    assert asked(rogue, b"good") == GOOD
    assert (rogue.state.starts, rogue.state.deaths) == (2, 1)


def test_deaths_in_a_row_are_answered_with_pauses_and_one_line(
    rogue: Decoder, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = []
    for _ in range(9):
        assert refusal(rogue, b"exit").reason is Reason.DECODER_DIED
        pause = 0.0
        while not answers(rogue):
            pause += 1
            clock.now += 1
        pauses.append(pause)
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert rogue.state.starts == 10
    lines = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(lines) == 1
    assert "third time within ten minutes" in lines[0]
    clock.now += 601
    refusal(rogue, b"exit")
    assert asked(rogue, b"good") == GOOD, "old deaths are forgotten"


def test_the_worker_has_no_file_of_ours_and_can_open_none(rogue: Decoder, tmp_path: Path) -> None:
    with (tmp_path / "ledger").open("w") as held:
        os.set_inheritable(held.fileno(), True)
        os.kill(rogue.state.pid, signal.SIGKILL)
        assert gone(rogue.state.pid)
        kinds = refusal(rogue, b"descriptors").detail.partition("ValueError: ")[2].split(", ")
        assert [kind for kind in kinds if not kind.startswith("file")] == ["device"] * 3 + ["socket"]
        # libffi 3.5, which ctypes loads, keeps its own file open, to map trampolines from.
        assert len(kinds) <= 5
        assert f"file {os.fstat(held.fileno()).st_ino}" not in kinds
    assert asked(rogue, b"open") == GOOD


def test_limits_are_set(rogue: Decoder) -> None:
    limits = Path(f"/proc/{rogue.state.pid}/limits").read_text()
    told = {line[:26].strip(): line[26:].split()[:2] for line in limits.splitlines()}
    assert told["Max address space"] == [str(512 * MB)] * 2
    assert told["Max core file size"] == told["Max file size"] == ["0", "0"]
    assert told["Max open files"] in (["4", "4"], ["5", "5"])  # the latter with libffi 3.5, which has one open
    status = Path(f"/proc/{rogue.state.pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status


def test_libraries_that_print_do_not_spoil_the_channel(rogue: Decoder) -> None:
    assert asked(rogue, b"print", b"good") == GOOD * 2


def test_signals_that_end_orthanc_leave_the_worker_to_orthanc(rogue: Decoder) -> None:
    assert asked(rogue, b"signals") == GOOD
    assert rogue.state.deaths == 0


def test_who_waits_for_others_waits_no_longer_than_decoding_may_take(rogue: Decoder) -> None:
    rogue._budget_s = 1.0
    with rogue._lock:
        assert str(refusal(rogue, b"good")) == "kept: decoder timed out: busy with other instances"
    assert asked(rogue, b"good") == GOOD


def test_what_is_only_long_is_given_up_in_time_and_kills_nothing(rogue: Decoder) -> None:
    rogue._budget_s = 1.0
    kept = refusal(rogue, *[b"slow"] * 100)
    rogue._budget_s = PATIENCE_S
    assert kept.reason is Reason.DECODER_TIMED_OUT
    assert kept.detail.startswith("100 frames would take ")
    assert rogue.state.deaths == 0
    assert asked(rogue, b"slow", b"slow") == GOOD * 2


def test_stopped_means_gone_and_kept(rogue: Decoder) -> None:
    pid = rogue.state.pid
    rogue.stop()
    assert gone(pid)
    assert (rogue.state.pid, refusal(rogue, b"good").reason) == (0, Reason.DECODER_RESTING)


def test_stopping_does_not_wait_for_what_is_being_decoded() -> None:
    decoder = Decoder(512 * MB, 30.0, decoders=ROGUE)
    decoder.start()
    pid = decoder.state.pid
    refused: list[KeptError] = []
    asking = threading.Thread(target=lambda: refused.append(refusal(decoder, b"hang")))
    asking.start()
    while not decoder._lock.locked():
        time.sleep(0.01)
    decoder.stop(deadline_s=1.0)
    asking.join(60)
    assert gone(pid)
    assert [kept.reason for kept in refused] == [Reason.DECODER_DIED]


def test_an_answer_that_nobody_took_is_not_taken_for_the_next(rogue: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    really_receive = DecoderProcess._receive
    failures = iter([MemoryError()])

    def receive(self: DecoderProcess, view: memoryview, deadline: float) -> None:
        if (failure := next(failures, None)) is not None:
            raise failure
        really_receive(self, view, deadline)

    monkeypatch.setattr(DecoderProcess, "_receive", receive)
    with pytest.raises(MemoryError):
        asked(rogue, b"good")
    assert not rogue._process or not rogue._process.running
    assert answers(rogue)


def test_a_worker_that_is_slow_to_start_is_not_killed_for_it(rogue: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    really_start = DecoderProcess.__init__

    def start(self: DecoderProcess, launch: Launch, deadline: float) -> None:
        really_start(self, launch, deadline)
        time.sleep(1.2)  # more than decoding may take

    os.kill(rogue.state.pid, signal.SIGKILL)
    assert gone(rogue.state.pid)
    rogue._budget_s = 1.0
    monkeypatch.setattr(DecoderProcess, "__init__", start)
    assert asked(rogue, b"good") == GOOD
    assert rogue.state.deaths == 1


@pytest.mark.parametrize("stream", ["good", "hang", "spin"])
def test_the_worker_goes_when_its_parent_is_killed(stream: str) -> None:
    """Idle at once; within a decoder, when the time of the instance is over."""
    program = f"""
import sys; sys.path.insert(0, {str(BUNDLE)!r})
from transcoder.decoding.supervisor import Decoder
from transcoder.decoding import self_test
decoder = Decoder(512 << 20, 1.0, decoders={ROGUE!r})
decoder.start()
print(decoder.state.pid, flush=True)
import threading
threading.Thread(target=decoder.decode, args=(self_test.REQUESTS[1], [{stream!r}.encode()])).start()
threading.Event().wait()
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


def test_a_start_that_fails_says_why_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"does not start: .*python.*: ModuleNotFoundError: No module named 'nobody'"
    ) as error:
        Decoder(512 * MB, 1.0, decoders="nobody").start()
    assert "\n" not in str(error.value)
    with pytest.raises(RuntimeError, match="does not start"):
        Decoder(32 * MB, 1.0).start()
    other = tmp_path / "python3"
    other.write_text("#!/bin/sh\necho cannot >&2\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setattr(interpreter, "candidates", lambda: [str(other), str(tmp_path / "none")])
    with pytest.raises(RuntimeError, match=r"ended with status 1: cannot; .*No such file"):
        Decoder(512 * MB, 1.0).start()
    monkeypatch.setattr(interpreter, "candidates", list)
    with pytest.raises(
        RuntimeError, match=r"no fitting python3\.\d+ to run the decoder with: expected Debian's package python3"
    ):
        Decoder(512 * MB, 1.0).start()


def test_a_python_is_found_where_this_program_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/sbin/Orthanc")
    found = interpreter.candidates()
    assert found
    assert all(Path(path).name.startswith("python") for path in found)
    decoder = Decoder(512 * MB, 5.0)
    decoder.start()
    decoder.stop()


def test_a_worker_with_another_python_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", SimpleNamespace(major=3, minor=99))
    with pytest.raises(DiedError, match=r"ended with status 1: Python 3\.1\d"):
        DecoderProcess(Launch(sys.executable, 512 * MB), time.monotonic() + 30)
