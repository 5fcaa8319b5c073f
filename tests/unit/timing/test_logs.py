import gzip
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from timing.__main__ import main
from timing.logs import LogReport, read_logs
from timing.logs.lines import LogLine, NoRecord, parse
from timing.logs.reader import LogReader
from timing.logs.report import LoggedProtocol
from timing.logs.text import render

DATA = Path(__file__).parent / "data"
ROOT = Path(__file__).parents[3]
RESOURCE = "f626cc11-109c30d0-c200eb48-4e2934e6-04cb56e8"


def read(lines: Iterable[str]) -> LogReport:
    reader = LogReader()
    reader.feed(lines)
    return reader.report()


def over(report: LogReport, protocol: str) -> LoggedProtocol:
    return next(entry for entry in report.protocols if entry.protocol == protocol)


def medians(entry: LoggedProtocol) -> dict[str, float]:
    return {stage.stage: stage.p50_ms for stage in [*entry.stages, *entry.beside]}


def found(report: LogReport) -> dict[str, str]:
    return {finding.name: finding.text for finding in report.findings}


def at(
    milliseconds: float,
    text: str,
    *,
    thread: str = "",
    day: str = "1110",
    level: str = "I",
    prefix: str = "",
    file: str = "F.cpp",
) -> str:
    """A line of the log, so many milliseconds after 10 o'clock."""
    microseconds = round(milliseconds * 1000)
    clock = f"10:{microseconds // 60_000_000:02}:{microseconds // 1_000_000 % 60:02}.{microseconds % 1_000_000:06}"
    return f"{prefix}{level}{day} {clock} {f'{thread:>16} ' if thread else ''}{file}:12] {text}\n"


def cstore(
    begin: float, *, thread: str = "", client: str = "SCU", receive: float = 10, write: float = 5, commit: float = 2
) -> list[str]:
    attachment = '"71a42b33-cd54-4c7d-9750-959e6dc52094"'
    written = begin + receive + write
    return [
        at(begin, f"Incoming Store request from AET {client} on IP 10.0.0.1, calling AET ORTHANC", thread=thread),
        at(begin + receive, f'Creating attachment {attachment} of "DICOM" type', thread=thread),
        at(written, f"Created attachment {attachment} (512.74KB in 2.50ms = 1.68Gbps)", thread=thread),
        at(written + commit, f"New instance stored ({RESOURCE})", thread=thread),
    ]


def http(begin: float, *, thread: str = "", receive: float = 10, store: float = 7) -> list[str]:
    return [
        at(begin, "(http) POST /instances", thread=thread, file="HttpServer.cpp"),
        at(begin + 1, "(http) Receiving a DICOM file of 526018 bytes through HTTP", thread=thread),
        at(
            begin + receive,
            'Creating attachment "71a42b33-cd54-4c7d-9750-959e6dc52094" of "DICOM" type (size: 1MB)',
            thread=thread,
        ),
        at(begin + receive + store, "New instance stored", thread=thread),
    ]


# ---- what people found by hand in two excerpts


@pytest.fixture(scope="module")
def excerpts() -> LogReport:
    return read_logs([str(DATA / "cstore_1_10_trace.log"), str(DATA / "http_1_10_trace.log")])


def test_eleven_milliseconds_are_lost_between_two_instances(excerpts: LogReport) -> None:
    assert medians(over(excerpts, "cstore"))["gap"] == pytest.approx(10.548, rel=2e-3)
    assert "10.5 ms" in found(excerpts)["gap_between_instances"]


def test_receiving_takes_58_milliseconds_over_cstore_against_10_over_http(excerpts: LogReport) -> None:
    assert medians(over(excerpts, "cstore"))["receive"] == pytest.approx(57.837, rel=2e-3)
    assert medians(over(excerpts, "http"))["receive"] == pytest.approx(10.594, rel=2e-3)
    assert "57.8 ms over C-STORE against 10.6 ms over HTTP" in found(excerpts)["receiving_cstore_against_http"]
    assert "stalled_receiving" in found(excerpts)


def test_transcoding_takes_one_millisecond_by_the_lines_of_the_log(excerpts: LogReport) -> None:
    assert medians(over(excerpts, "cstore"))["transcode"] == pytest.approx(1.508, rel=2e-3)
    assert medians(over(excerpts, "http"))["transcode"] == pytest.approx(1.079, rel=2e-3)


def test_what_a_plugin_transcodes_before_its_only_line_is_not_called_quick(excerpts: LogReport) -> None:
    assert "quick_transcoding" not in found(excerpts)
    assert "service 38" in found(excerpts)["transcoding_by_plugin"]


def test_the_new_instance_change_is_slower_than_the_others(excerpts: LogReport) -> None:
    assert medians(over(excerpts, "cstore"))["new_instance_change"] == pytest.approx(1.796, rel=2e-3)
    assert medians(over(excerpts, "http"))["new_instance_change"] == pytest.approx(2.219, rel=2e-3)
    assert [finding.name for finding in excerpts.findings].count("slow_new_instance_change") == 2


def test_compressing_a_tiny_answer_takes_seven_milliseconds(excerpts: LogReport) -> None:
    assert medians(over(excerpts, "http"))["answer"] == pytest.approx(6.886, rel=2e-3)
    assert "6.9 ms" in found(excerpts)["compressed_answer"]


def test_what_the_excerpts_cut_off_is_counted(excerpts: LogReport) -> None:
    assert excerpts.counts["stored without a beginning"] == 1
    assert excerpts.counts["open at the end"] == 1
    assert [(entry.instances, entry.unfinished) for entry in excerpts.protocols] == [(1, 0), (1, 0)]


# ---- logs of real servers


def test_the_40_ms_stalls_of_a_default_association_are_found_in_a_verbose_log() -> None:
    report = read_logs([str(DATA / "stalls_1_10_verbose.log")])
    assert {"stalled_answer", "stalled_receiving"} <= found(report).keys()
    assert medians(over(report, "cstore"))["gap"] == pytest.approx(43, abs=2)


def test_threads_of_a_parallel_log_are_told_apart() -> None:
    lines = (DATA / "parallel_1_12_trace.log").read_text().splitlines(keepends=True)
    report = read(lines)
    record = re.compile(r'[IT]1121 \d\d:\d\d:(\d\d\.\d{6})\s+(\S+) \S+ (Creating|Created) attachment "\S+" ')
    begun: dict[str, float] = {}
    writes: list[float] = []
    for line in lines:
        if match := record.match(line):
            if match[3] == "Creating":
                begun[match[2]] = float(match[1])
            elif match[2] in begun:
                writes.append((float(match[1]) - begun.pop(match[2])) * 1000)
    measured = [stage for entry in report.protocols for stage in entry.stages if stage.stage == "write"]
    assert sum(entry.overlapped for entry in report.protocols) == 0
    assert max(stage.max_ms for stage in measured) == pytest.approx(max(writes), abs=0.01)
    assert sum(stage.count for stage in measured) == pytest.approx(len(writes), abs=7)  # 7 threads, cut at both ends


def test_dcmtk_transcoding_is_divided_from_what_follows_and_duplicates_are_not_stored() -> None:
    report = read_logs([str(DATA / "transcoding_duplicates_1_10_trace.log")])
    stages = medians(over(report, "http"))
    assert {"receive", "transcode", "prepare", "write", "commit"} <= stages.keys()
    assert stages["transcode"] == pytest.approx(11, abs=2)
    twice = over(report, "cstore")
    assert (over(report, "http").unfinished, twice.instances, twice.unfinished, twice.duplicates) == (1, 0, 0, 1)
    assert {"slow_transcoding", "slow_preparing"} <= found(report).keys()


# Log, protocol, stages beside receive and total that it divides.
OF_1_13 = [
    ("http_1_13_transcoding_trace", "http", {"transcode", "prepare", "write", "commit"}),
    ("http_1_13_no_threads_trace", "http", {"write", "commit"}),
    ("cstore_1_13_verbose", "cstore", {"write", "commit"}),
]


@pytest.mark.parametrize(("log", "protocol", "divided"), OF_1_13, ids=[row[0] for row in OF_1_13])
def test_a_log_of_orthanc_1_13_is_divided_and_what_was_there_already_is_not_stored(
    log: str, protocol: str, divided: set[str]
) -> None:
    report = read_logs([str(DATA / f"{log}.log")])
    entry = over(report, protocol)
    assert (entry.instances, entry.duplicates, entry.unfinished) == (3, 1, 0)
    assert {stage.stage for stage in entry.stages} == divided | {"receive", "total"}
    assert {stage.count for stage in entry.stages} == {3}
    assert not {"open at the end", "stored without a beginning"} & report.counts.keys()


def test_the_line_at_the_end_of_a_request_is_no_upload_of_its_own() -> None:
    end = at(20, "(http) POST /instances?force (elapsed: 20000 us)", thread="HTTP-0", file="ElapsedTimer.cpp")
    report = read([*http(0, thread="HTTP-0"), end])
    assert over(report, "http").instances == 1
    assert "open at the end" not in report.counts


def test_the_context_of_a_line_is_no_part_of_its_text() -> None:
    context = "| from    JOBS-WORKER-0 | job 43d8dece-6536-45a2-847f-43f6773d3dd5 | (dicom) Closing"
    record = parse(at(0, context, thread="DICOM-SRC-0"))
    assert isinstance(record, LogLine)
    assert (record.thread, record.text) == ("DICOM-SRC-0", "Closing")


# ---- lines

# Prefix, process that it names.
PREFIXES = {
    "": "",
    "orthanc-ssd_1        | ": "orthanc-ssd_1",
    "\x1b[36morthanc-1  |\x1b[0m ": "orthanc-1",
    "2021-11-10T11:40:45.073515123Z ": "",  # docker logs --timestamps
    "Nov 10 11:40:45 pacs Orthanc[812]: ": "Orthanc[812]",  # journald
    "2021-11-10T11:40:45.073515123Z stdout F ": "",  # CRI
}


@pytest.mark.parametrize(("prefix", "process"), PREFIXES.items())
def test_a_record_is_found_under_its_prefix(prefix: str, process: str) -> None:
    line = parse(f"{prefix}I1110 11:40:45.073515 main.cpp:352] (dicom) Incoming\n")
    assert isinstance(line, LogLine)
    assert (line.process, line.level, line.thread, line.file, line.text) == (process, "I", "", "main.cpp", "Incoming")


def test_a_thread_name_and_a_plugin_are_told_from_the_file() -> None:
    named = parse("I1121 07:49:05.091362           HTTP-1 HttpServer.cpp:1263] (http) POST /instances")
    assert isinstance(named, LogLine)
    assert (named.thread, named.file, named.text) == ("HTTP-1", "HttpServer.cpp", "POST /instances")
    plugin = parse("W1121 07:49:05.091362             MAIN python:/main.py:12] hello [world] x")
    assert isinstance(plugin, LogLine)
    assert (plugin.thread, plugin.text) == ("MAIN", "hello [world] x")


# Line, what it is instead of a record.
NO_RECORDS = {
    "===================== INCOMING DIMSE MESSAGE ====================": NoRecord.OTHER,
    "": NoRecord.OTHER,
    "D: Association Received: 127.0.0.1": NoRecord.OTHER,
    "I1110 11:40:45.07": NoRecord.DAMAGED,  # cut short
    "I1110 11:40:45.073515 main.cpp:35": NoRecord.DAMAGED,  # cut short, later
    "I1399 11:40:45.073515 main.cpp:352] text": NoRecord.DAMAGED,  # no such day
    "I1110 31:40:45.073515 main.cpp:352] text": NoRecord.DAMAGED,  # no such hour
    "I1110 11:40:45.073515 main.cpp:352] New insI1110 11:40:45.073600 a.cpp:1] x": NoRecord.DAMAGED,  # two in one
}


@pytest.mark.parametrize(("raw", "reason"), NO_RECORDS.items())
def test_what_is_no_record_is_told_from_what_was_one(raw: str, reason: NoRecord) -> None:
    assert parse(raw) is reason


# ---- pairing


def test_two_threads_at_once_keep_their_own_times() -> None:
    first = cstore(0, thread="DICOM-0", receive=10, write=100, commit=5)
    second = cstore(20, thread="DICOM-1", client="CT", receive=20, write=3, commit=5)
    report = read(sorted([*first, *second]))
    assert {slow.client: slow.stages for slow in report.slowest} == {
        "SCU on 10.0.0.1": {"receive": 10, "write": 100, "commit": 5},
        "CT on 10.0.0.1": {"receive": 20, "write": 3, "commit": 5},
    }


def test_without_thread_names_instances_at_once_are_counted_and_not_measured() -> None:
    report = read([*sorted([*cstore(0, write=100), *cstore(20, client="CT")]), *cstore(500)])
    entry = over(report, "cstore")
    assert (entry.instances, entry.overlapped) == (3, 2)
    assert medians(entry)["total"] == pytest.approx(17)
    assert "overlapped" in found(report)


def test_an_instance_that_was_never_stored_does_not_spoil_the_rest_of_the_log() -> None:
    lost = cstore(0)[:2]
    rest = [line for number in range(20) for line in cstore(1000 + number * 10_000)]
    entry = over(read([*lost, *rest]), "cstore")
    assert (entry.instances, entry.unfinished) == (20, 1)
    assert entry.overlapped < 8


def test_a_thread_begins_anew_with_each_request() -> None:
    report = read(
        [
            *http(0, thread="HTTP-1")[:2],
            at(50, "(http) GET /studies", thread="HTTP-1", file="HttpServer.cpp"),
            *http(100, thread="HTTP-1"),
        ]
    )
    assert (over(report, "http").instances, over(report, "http").unfinished) == (1, 1)


def test_each_instance_of_a_zip_is_one() -> None:
    lines = [at(0, "(http) POST /instances", file="HttpServer.cpp")]
    for number in range(3):
        lines.append(at(100 + 20 * number, f"Uploading DICOM file from ZIP archive: {number}.dcm"))
        lines.extend(http(100 + 20 * number)[2:])
    report = read(lines)
    entry = over(report, "http")
    assert (entry.instances, entry.unfinished, entry.overlapped) == (3, 0, 0)
    assert medians(entry)["receive"] == pytest.approx(10)


def test_a_new_association_has_no_gap_to_the_one_before() -> None:
    lines = [*cstore(0), at(40, "Association Received from AET SCU on IP 10.0.0.1"), *cstore(45), *cstore(70)]
    gaps = {stage.stage: stage.count for stage in over(read(lines), "cstore").beside}
    assert gaps == {"gap": 1}


def test_a_pause_is_no_gap() -> None:
    assert over(read([*cstore(0), *cstore(20_000)]), "cstore").beside == []


def test_without_lines_of_the_storage_nothing_is_made_up() -> None:
    lines = [cstore(0)[0], cstore(0)[3]]
    assert medians(over(read(lines), "cstore")) == {"unknown": pytest.approx(17), "total": pytest.approx(17)}


def test_two_servers_in_one_log_do_not_mix() -> None:
    first = [f"one | {line}" for line in cstore(0, write=100)]
    second = [f"two | {line}" for line in cstore(20)]
    lines = sorted([*first, *second], key=lambda line: line.split("|")[1])
    assert over(read(lines), "cstore").overlapped == 0


# ---- trouble


def test_a_clock_that_jumps_back_is_counted_and_measures_nothing_across() -> None:
    report = read([*cstore(60_000)[:2], *cstore(1000)[2:], *cstore(2000)])
    assert report.counts["clock jumps"] == 1
    assert (over(report, "cstore").instances, over(report, "cstore").unfinished) == (1, 1)
    assert medians(over(report, "cstore"))["total"] == pytest.approx(17)


def test_new_year_is_no_clock_jump() -> None:
    lines = [line.replace("1110", "1231") for line in cstore(0)] + [
        line.replace("1110", "0101") for line in cstore(100)
    ]
    report = read(lines)
    assert "clock jumps" not in report.counts
    assert over(report, "cstore").instances == 2


def test_a_restart_gives_up_what_was_open() -> None:
    report = read([*cstore(0)[:3], at(5000, "Orthanc version: 1.12.7"), *cstore(9000)])
    assert (over(report, "cstore").instances, over(report, "cstore").unfinished, report.counts["restarts"]) == (1, 1, 1)


def test_damaged_lines_are_counted_and_the_rest_is_read() -> None:
    lines = cstore(0)
    report = read([lines[0], lines[1][:30] + "\n", *lines[2:], *cstore(100)])
    assert report.counts["damaged"] == 1
    assert over(report, "cstore").instances == 2


def test_slow_storage_and_slow_index_are_said_in_words() -> None:
    report = read([line for number in range(10) for line in cstore(number * 1000, write=80, commit=30)])
    assert "80.0 ms" in found(report)["slow_storage"]
    assert "30.0 ms" in found(report)["slow_index"]
    assert all(finding.advice for finding in report.findings if finding.kind == "problem")


def test_a_quick_server_has_nothing_that_stands_out() -> None:
    report = read([line for number in range(10) for line in cstore(number * 16, write=2, commit=2)])
    assert report.findings == []


LINE_SOUP = st.lists(
    st.one_of(
        st.text(max_size=60),
        st.sampled_from([*cstore(0), *http(3), *cstore(5, thread="DICOM-1")]),
        st.builds(
            at,
            st.floats(0, 3_000_000),
            st.sampled_from(
                [
                    "Received Command:",
                    "(http) HTTP header: [host]: [x]",
                    "(http) POST /instances",
                    "Uploading DICOM file from ZIP archive: x",
                    "DCMTK transcoding from a to b",
                    "Transcoded an image from transfer syntax a to b",
                    'Creating attachment "x"',
                    'Created attachment "x"',
                    "Overwriting instance: x",
                    f"Change related to resource {RESOURCE} of type Instance: NewInstance",
                    "Change related to resource x of type Series: NewChildInstance",
                    "New instance stored",
                    "Already stored",
                    "Bad file format: x",
                    "Compressing a HTTP answer using gzip",
                    "Incoming Store request from nobody",
                    "Orthanc version: 1",
                ]
            ),
            thread=st.sampled_from(["", "HTTP-1", "DICOM-2"]),
            day=st.sampled_from(["1110", "1111", "0101", "1399"]),
            prefix=st.sampled_from(["", "a | ", "b | "]),
            file=st.sampled_from(["HttpServer.cpp", "F.cpp"]),
        ),
    ),
    max_size=60,
)


@settings(deadline=None)
@given(LINE_SOUP, st.integers(1, 200))
def test_no_soup_of_lines_raises_and_what_is_measured_adds_up(lines: list[str], cut: int) -> None:
    report = read([*lines, *(line[:cut] for line in lines)])
    for entry in report.protocols:
        sums = {stage.stage: stage.mean_ms * stage.count for stage in entry.stages}
        assert sum(value for stage, value in sums.items() if stage != "total") == pytest.approx(sums.get("total", 0))
    Console(file=io.StringIO(), width=80).print(render(report))


def test_millions_of_beginnings_without_an_end_take_no_more_memory_than_a_few() -> None:
    reader = LogReader()
    reader.feed(
        line
        for number in range(2000)
        for line in (cstore(number, client=f"SCU{number}")[0], cstore(number, thread=f"T{number}")[0])
    )
    (process,) = reader._processes.values()
    assert process._pairing.count_open() < 600
    assert over(reader.report(), "cstore").unfinished > 3000


# ---- files and the command line


def test_gzipped_plain_and_several_files_are_read_as_one(tmp_path: Path) -> None:
    plain, zipped = tmp_path / "orthanc.log.1", tmp_path / "orthanc.log.2.gz"
    plain.write_text("".join(cstore(0)))
    zipped.write_bytes(gzip.compress("".join(cstore(1000)).encode()))
    seen: list[str] = []
    report = read_logs([str(plain), str(zipped)], lambda name, count: seen.append(name))
    assert over(report, "cstore").instances == 2


def test_a_gzip_file_that_is_cut_short_is_read_up_to_there(tmp_path: Path) -> None:
    text = "".join(line for number in range(2000) for line in cstore(number * 100))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(text.encode())[:-20])
    report = read_logs([str(tmp_path / "cut.gz")])
    assert report.counts["files that end early"] == 1
    assert over(report, "cstore").instances > 1000


def test_bytes_that_are_no_text_and_lines_without_end_are_no_trouble(tmp_path: Path) -> None:
    log = tmp_path / "odd.log"
    log.write_bytes(b"\xff\xfe\x00" * 100_000 + b"\n" + "".join(cstore(0)).encode())
    assert over(read_logs([str(log)]), "cstore").instances == 1


def test_the_command_prints_tables_and_findings_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", *map(str, sorted(DATA.glob("*_1_10_*.log")))]) == 0
    text = capsys.readouterr().out
    assert "What stands out" in text
    assert "Slowest instances" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_command_prints_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "--json", str(DATA / "http_1_10_trace.log")]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["protocols"][0]["protocol"] == "http"


def test_the_command_reads_standard_input() -> None:
    command = [sys.executable, "-m", "timing", "read", "-", "--json"]
    result = subprocess.run(command, cwd=ROOT, input="".join(cstore(0)), capture_output=True, text=True, check=True)
    assert json.loads(result.stdout)["protocols"][0]["instances"] == 1


def test_a_missing_file_is_one_line_and_a_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["read", "/nowhere/orthanc.log"]) == 2
    assert capsys.readouterr().err == "timing: cannot read or write /nowhere/orthanc.log: No such file or directory\n"


def test_a_log_without_instances_says_what_orthanc_must_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "empty.log").touch()
    assert main(["read", str(tmp_path / "empty.log")]) == 1
    assert "The log is empty" in capsys.readouterr().out
    (tmp_path / "quiet.log").write_text(at(0, "Orthanc has started", level="W"))
    assert main(["read", str(tmp_path / "quiet.log")]) == 1
    assert "--verbose or, for more" in capsys.readouterr().out
    (tmp_path / "idle.log").write_text(at(0, "(http) GET /system", file="HttpServer.cpp"))
    assert main(["read", str(tmp_path / "idle.log")]) == 1
    assert "--verbose or --trace" in " ".join(capsys.readouterr().out.split())
