"""Logs of real servers, whole and mutilated; several files; memory."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from timing.__main__ import main
from timing.logs import LogReport, read_logs
from timing.logs.lines import LogLine, parse
from timing.logs.page import html_page, svg_file
from timing.logs.reader import LogReader
from timing.logs.sources import in_time_order
from timing.logs.text import render

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[3]
REAL = [path.read_text().splitlines(keepends=True) for path in sorted(DATA.iterdir())]


def medians(report: LogReport, protocol: str) -> dict[str, float]:
    entry = next(entry for entry in report.protocols if entry.protocol == protocol)
    return {stage.stage: stage.p50_ms for stage in (*entry.stages, *entry.beside)}


def begun(clock: str, *, thread: str = "", client: str = "A", day: str = "1110") -> str:
    return (
        f"I{day} {clock} {thread} main.cpp:1] Incoming Store request from AET {client} on IP 10.0.0.1, calling AET B\n"
    )


def stored(clock: str, *, thread: str = "", day: str = "1110") -> str:
    return f"I{day} {clock} {thread} ServerContext.cpp:1] New instance stored\n"


# ---- real servers


def test_a_verbose_log_of_orthanc_1_12_divides_all_stages_and_shows_the_stall() -> None:
    report = read_logs([str(DATA / "cstore_1_12_verbose.log")])
    found = medians(report, "cstore")
    assert {"receive", "write", "commit", "total"} <= found.keys()
    assert found["gap"] == pytest.approx(45, abs=5)
    assert "stalled_answer" in {finding.name for finding in report.findings}


def test_a_trace_log_of_orthanc_1_12_that_transcodes_names_the_study() -> None:
    report = read_logs([str(DATA / "cstore_1_12_transcoding_trace.log")])
    assert {"receive", "transcode", "prepare", "write", "commit"} <= medians(report, "cstore").keys()
    assert report.study is not None
    assert len(report.study.orthanc_id) == 44
    assert len(report.study.shown) == report.study.instances == 3
    assert all(sum(shown.stages.values()) == pytest.approx(shown.total_ms) for shown in report.study.shown)


def test_where_a_plugin_owns_the_storage_the_log_divides_little_and_says_so() -> None:
    report = read_logs([str(DATA / "cstore_1_10_plugin_storage_verbose.log")])
    assert medians(report, "cstore")["unknown"] > 10
    assert "unseen" in {finding.name for finding in report.findings}


# ---- mutilation

PREFIXES = (
    "",
    "orthanc_1  | ",
    "\x1b[33morthanc-2  |\x1b[0m ",
    "2026-11-21T07:49:05.091362123Z ",
    "Nov 21 07:49:05 pacs Orthanc[8]: ",
)


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Lines of a real log: cut, doubled, swapped, mixed with another log's, behind prefixes, with bytes changed."""
    lines = [line.encode() for line in draw(st.sampled_from(REAL))]
    start = draw(st.integers(0, len(lines) - 1))
    lines = lines[start : start + draw(st.integers(1, 60))]
    other = [line.encode() for line in draw(st.sampled_from(REAL))[:40]]
    for _ in range(draw(st.integers(0, 8))):
        place = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 6)):
            case 0:
                lines[place] = lines[place][: draw(st.integers(0, len(lines[place])))]
            case 1:
                lines.insert(place, lines[draw(st.integers(0, len(lines) - 1))])
            case 2:
                lines.insert(place, draw(st.sampled_from(other)))
            case 3:
                cut = draw(st.integers(0, len(lines[place])))
                lines[place] = lines[place][:cut] + draw(st.binary(max_size=30)) + lines[place][cut:]
            case 4:
                lines[place] = lines[place].replace(b"\n", b"\r\n")
            case 5:
                lines[place] = draw(st.sampled_from(PREFIXES)).encode() + lines[place]
            case 6:
                lines[place] = lines[place].replace(
                    b"1121", draw(st.sampled_from([b"1231", b"0101", b"0230", b"1122"]))
                )
    return b"".join(lines)


@settings(deadline=None)
@given(mutilated())
def test_no_mutilation_of_a_real_log_raises_and_what_is_measured_adds_up(log: bytes) -> None:
    reader = LogReader()
    reader.feed(line.decode("utf-8", "replace") for line in io.BytesIO(log))
    report = reader.report()
    for entry in report.protocols:
        sums = {stage.stage: stage.mean_ms * stage.count for stage in entry.stages}
        assert sum(value for stage, value in sums.items() if stage != "total") == pytest.approx(sums.get("total", 0))
        assert sum(gap.count for gap in entry.gaps) == sum(b.count for b in entry.beside if b.stage == "gap")
    Console(file=io.StringIO(), width=80).print(render(report))
    html_page(report, ["x"])
    svg_file(report)


@pytest.mark.parametrize("prefix", ["orthanc-1  | 2026-11-21T07:49:05.091362123Z ", "orthanc_1  | ", "\ufeff"])
def test_prefixes_in_front_of_prefixes_hide_no_record(prefix: str) -> None:
    line = parse(f"{prefix}I1110 10:00:00.000000           HTTP-1 plugin:/main.py:12] (http) text\r\n")
    assert isinstance(line, LogLine)
    assert (line.thread, line.text) == ("HTTP-1", "text")


def test_an_hour_that_comes_twice_is_a_clock_jump_and_one_that_is_skipped_is_a_pause() -> None:
    back = [begun("02:59:59.900000"), stored("02:59:59.950000"), begun("02:00:00.100000"), stored("02:00:00.150000")]
    forward = [begun("01:59:59.900000"), stored("01:59:59.950000"), begun("03:00:00.100000"), stored("03:00:00.150000")]
    for lines, jumps in ((back, 1), (forward, 0)):
        reader = LogReader()
        reader.feed(lines)
        report = reader.report()
        assert report.counts.get("clock jumps", 0) == jumps
        assert report.protocols[0].instances == 2
        assert report.protocols[0].beside == []


def test_an_instance_across_a_clock_set_forward_is_counted_and_not_measured() -> None:
    reader = LogReader()
    reader.feed([begun("10:00:00.000000", thread="DICOM-1"), stored("10:00:00.100000", thread="DICOM-1", day="1112")])
    report = reader.report()
    assert report.counts["too long"] == 1
    assert report.protocols[0].stages == []
    Console(file=io.StringIO(), width=80).print(render(report))


def test_midnight_is_nothing() -> None:
    reader = LogReader()
    reader.feed([begun("23:59:59.990000"), stored("00:00:00.010000", day="1111"), begun("00:00:00.020000", day="1111")])
    assert medians(reader.report(), "cstore")["total"] == pytest.approx(20)


def test_transcoding_that_runs_one_at_a_time_is_said_in_words() -> None:
    def lines() -> Iterator[str]:
        for number in range(30):
            base = f"10:00:{number:02}"
            for thread in ("DICOM-1", "DICOM-2"):
                yield begun(f"{base}.100000", thread=thread, client=thread)
            for thread, at in (("DICOM-1", "2"), ("DICOM-2", "3")):
                yield f"I1110 {base}.{at}00000 {thread} D.cpp:1] DCMTK transcoding from 1.2 to one of: 1.3\n"
                yield f"I1110 {base}.{at}50000 {thread} D.cpp:1] Transcoded an image from transfer syntax 1.2 to 1.3\n"
                yield f'I1110 {base}.{at}60000 {thread} F.cpp:1] Creating attachment "x"\n'
            for thread in ("DICOM-1", "DICOM-2"):
                yield stored(f"{base}.900000", thread=thread)

    reader = LogReader()
    reader.feed(lines())
    assert "serialised_transcoding" in {finding.name for finding in reader.report().findings}
    parallel = read_logs([str(DATA / "transcoding_duplicates_1_10_trace.log")])
    assert "serialised_transcoding" not in {finding.name for finding in parallel.findings}


def test_long_gaps_and_an_association_per_instance_are_said_in_words() -> None:
    def lines() -> Iterator[str]:
        for number in range(30):
            if number < 25:
                yield (
                    f"I1110 10:0{number // 20}:{number % 20 * 3:02}.000000 C.cpp:1] (dicom) Association Received "
                    "from AET A on IP 10.0.0.1\n"
                )
            yield begun(f"10:0{number // 20}:{number % 20 * 3:02}.100000")
            yield stored(f"10:0{number // 20}:{number % 20 * 3:02}.150000")

    reader = LogReader()
    reader.feed(lines())
    assert {"long_gaps", "association_per_instance"} <= {finding.name for finding in reader.report().findings}


# ---- several files


def test_rotated_logs_are_put_in_the_order_of_time_across_the_new_year(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(begun("10:00:01.000000", day="0102"))
    (tmp_path / "a.log.1").write_bytes(bz2.compress(begun("10:00:01.000000", day="0101").encode()))
    (tmp_path / "a.log.2.xz").write_bytes(lzma.compress(b"no record\n" + begun("10:00:01.000000", day="1231").encode()))
    (tmp_path / "a.log.3.gz").write_bytes(gzip.compress(begun("10:00:01.000000", day="1230").encode()))
    names = [str(tmp_path / name) for name in ("a.log", "a.log.1", "a.log.2.xz", "a.log.3.gz")]
    assert in_time_order(names) == names[::-1]
    assert in_time_order([*names, "-"]) == [*names, "-"]
    report = read_logs(names)
    assert (report.counts["lines"], report.counts.get("clock jumps", 0)) == (5, 0)


def test_an_instance_that_spans_a_rotation_is_whole(tmp_path: Path) -> None:
    (tmp_path / "orthanc.log.1").write_text(begun("10:00:01.000000"))
    (tmp_path / "orthanc.log").write_text(stored("10:00:01.250000"))
    report = read_logs([str(tmp_path / "orthanc.log"), str(tmp_path / "orthanc.log.1")])
    assert medians(report, "cstore")["total"] == pytest.approx(250)


@pytest.mark.parametrize(("content", "message"), [(b"\x28\xb5\x2f\xfdxxxx", "zstd"), (None, "No such file")])
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, message: str
) -> None:
    path = tmp_path / "x.log"
    if content is not None:
        path.write_bytes(content)
    assert main(["read", str(path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "content", [b"", os.urandom(100_000), b"\x1f\x8b" + b"x" * 50, b"BZh9" + b"x" * 50, b"\xfd7zXZ\x00x"]
)
def test_rubbish_is_no_traceback_and_holds_no_instance(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.log").write_bytes(content)
    assert main(["read", str(tmp_path / "x.log")]) == 1


# ---- memory


def test_memory_does_not_grow_with_the_log() -> None:
    def lines(count: int) -> Iterator[str]:
        for number in range(count):
            clock = f"{number // 36000 % 24:02}:{number // 600 % 60:02}:{number // 10 % 60:02}.{number % 10}0"
            yield begun(f"{clock}0000", thread=f"DICOM-{number}", client=f"SCU{number}")
            if number % 2:
                yield stored(f"{clock}1000", thread=f"DICOM-{number}")

    reader = LogReader()
    reader.feed(lines(1500))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    reader.feed(lines(4000))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    (process,) = reader._processes.values()
    assert process._pairing.count_open() <= 512
    assert grown < 500_000


@pytest.mark.slow
def test_a_gigabyte_is_read_in_the_memory_of_a_megabyte() -> None:
    text = (DATA / "parallel_1_12_trace.log").read_bytes()
    command = [sys.executable, "-m", "timing", "read", "-", "--json"]
    peaks = []
    for total in (1_000_000, int(os.environ.get("LOG_BYTES", "30_000_000"))):
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
            assert process.stdin is not None
            for _ in range(total // len(text)):
                process.stdin.write(text)
            process.stdin.close()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss)
    assert peaks[1] < peaks[0] + 20_000  # kilobytes
