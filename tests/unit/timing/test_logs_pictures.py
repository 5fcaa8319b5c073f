"""The page and the waterfalls: well formed, self-contained, and harmless whatever the log says."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from timing.__main__ import main
from timing.logs import read_logs
from timing.logs.page import html_page, svg_file
from timing.pictures.live import NotSlowestError, slowest_page, slowest_svg, timelines_of
from timing.pictures.waterfall import Timeline, lanes_picture

DATA = Path(__file__).parent / "data"
HOSTILE = '</title><script>alert(1)</script><img src=x onerror="alert(2)">\u202e\x1b[2J'
SLOWEST = [
    {
        "finished_at": 1.0,
        "protocol": "cstore",
        "orthanc_id": "a",
        "outcome": HOSTILE,
        "client": HOSTILE,
        "total_ms": 9.0,
        "stages": {"wait": 60_000.0, "receive": 6.0, "transcode": 1.0, HOSTILE: 2.0},
    },
    {"finished_at": 2.0, "protocol": "http", "orthanc_id": "b", "stages": {"write": 20.0}},
]


class _Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.open: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"


def check(text: str) -> None:
    """Every element is closed; no script, picture, handler or link; no character that turns text round."""
    elements = _Elements(text)
    assert elements.open == []
    assert not {"script", "img", "iframe", "object", "link", "a", "form"} & set(elements.names)
    assert [name for name, _ in elements.attributes if name.startswith("on") or name in {"href", "src"}] == []
    assert re.findall(r"url\(|@import", text) == []
    assert not {"\u202e", "\x1b"} & set(text)


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.iterdir()))
def test_the_page_and_the_svg_of_a_real_log_are_well_formed_and_self_contained(name: str) -> None:
    report = read_logs([str(DATA / name)])
    text = html_page(report, [name])
    check(text)
    assert "What stands out" in text
    root = ET.fromstring(svg_file(report))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"


def test_the_page_says_what_stands_out_and_shows_where_the_stall_is() -> None:
    name = "stalls_1_10_verbose.log"
    text = html_page(read_logs([str(DATA / name)]), [name])
    assert "the 40 ms stall" in text
    assert "TCP_NODELAY=1" in text
    assert "of these" in text  # the sentence under the study


def test_the_picture_in_the_documentation_is_what_the_command_draws(tmp_path: Path) -> None:
    assert main(["read", str(DATA / "stalls_1_10_verbose.log"), "--svg", str(tmp_path / "x.svg")]) == 0
    documented = Path(__file__).parents[3] / "docs" / "images" / "ingest-waterfall.svg"
    assert (tmp_path / "x.svg").read_text() == documented.read_text()


def test_hostile_names_in_a_log_are_text(tmp_path: Path) -> None:
    lines = (DATA / "stalls_1_10_verbose.log").read_text().replace("STORESCU", HOSTILE)
    log = tmp_path / f"{HOSTILE[8:20].replace('/', '_')}.log"
    log.write_text(lines)
    report = read_logs([str(log)])
    check(html_page(report, [HOSTILE]))
    assert HOSTILE[:10] not in svg_file(report).replace("</title><style>", "")
    ET.fromstring(svg_file(report))


def test_the_waterfall_of_live_data_begins_with_the_slowest_and_escapes_what_it_says(tmp_path: Path) -> None:
    timelines = timelines_of(json.dumps(SLOWEST).encode())
    assert [timeline.total_ms for timeline in timelines] == [20.0, 9.0]
    check(slowest_page(timelines))
    ET.fromstring(slowest_svg(timelines))
    source = tmp_path / "slowest.json"
    source.write_text(json.dumps(SLOWEST))
    for output in (tmp_path / "x.html", tmp_path / "x.svg"):
        assert main(["waterfall", str(source), "-o", str(output)]) == 0
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    assert (tmp_path / "x.html").read_text().startswith("<!DOCTYPE html>")


def test_no_instance_is_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("[]")
    assert main(["waterfall", str(tmp_path / "none.json"), "-o", str(tmp_path / "x.html")]) == 1
    check((tmp_path / "x.html").read_text())
    check(html_page(read_logs([]), []))
    ET.fromstring(svg_file(read_logs([])))


# Document, what the message says of it.
REFUSED = {
    b"{": "not JSON",
    b"3": "not a list",
    b"{}": "not a list",
    b"[3]": "instance 0 has no stages",
    b'[{"stages": {"receive": "long"}}]': "'receive' has no duration",
    b'[{"stages": {"receive": -1}}]': "'receive' has no duration",
    b'[{"stages": {"receive": true}}]': "'receive' has no duration",
}


@pytest.mark.parametrize(("document", "message"), REFUSED.items())
def test_what_is_no_answer_of_the_route_is_refused_in_words(document: bytes, message: str) -> None:
    with pytest.raises(NotSlowestError, match=message):
        timelines_of(document)


def test_a_refused_document_is_one_line_and_a_status(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("3")
    assert main(["waterfall", str(tmp_path / "x.json")]) == 2
    assert "is no answer of GET /timing/slowest: not a list of instances" in capsys.readouterr().err


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 1e9), st.lists(st.tuples(st.sampled_from(["receive", "x"]), st.floats(0, 1e9)))),
        max_size=20,
    )
)
def test_any_durations_can_be_drawn_and_no_bar_leaves_the_picture(
    lanes: list[tuple[float, list[tuple[str, float]]]],
) -> None:
    timelines = [Timeline("x", begin, stages) for begin, stages in sorted(lanes)]
    root = ET.fromstring(f"<svg>{lanes_picture(timelines).markup}</svg>")
    for bar in root.iter("rect"):
        assert 0 <= float(bar.attrib["x"].rstrip("%")) <= 100
        assert float(bar.attrib["x"].rstrip("%")) + float(bar.attrib["width"].rstrip("%")) <= 100.2
