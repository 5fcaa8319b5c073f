"""What the ingest benchmark keeps, goes on with, and writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import urllib3

from bench import charts, ingest, report
from bench.ingest import cells_of, left_out
from bench.results import Cell, Results, Run, Sample, spread
from bench.tables import QUICK, TABLES
from bench.variants import VARIANTS, Variant

RUN = Run("2 cores", "1.10.1", "373 instances")
HTTP = {"http": QUICK["http"]}


def sample(row: str, column: str, seconds: float, number: int = 0) -> Sample:
    cell = Cell("http", row, column, number)
    return Sample(
        cell=cell, instances=100, megabytes=50.0, seconds=seconds, delete_ms=20.0, stages={"http": {"write": 1.0}}
    )


def failed(row: str, column: str) -> Sample:
    return Sample(cell=Cell("http", row, column, 0), error="storescu ended with status 1")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    made = Results(tmp_path / "r.jsonl", RUN, fresh=False)
    for seconds, number in ((4.0, 0), (6.0, 1), (5.0, 2)):
        made.add(sample("native", "1 clients", seconds, number))
    made.add(sample("bundle", "1 clients", 2.5))
    made.add(failed("bundle", "4 clients"))
    return made


def test_a_run_goes_on_where_it_was_and_tries_again_what_failed(results: Results, tmp_path: Path) -> None:
    again = Results(tmp_path / "r.jsonl", RUN, fresh=False)
    assert again.samples == results.samples
    assert Cell("http", "native", "1 clients", 2) in again.done
    assert Cell("http", "bundle", "4 clients", 0) not in again.done
    again.add(sample("bundle", "4 clients", 1.0))
    assert again.failures == []


@pytest.mark.parametrize(
    ("run", "fresh", "spoil"),
    [
        (Run("4 cores", "1.10.1", "373 instances"), False, b""),  # another machine
        (Run("2 cores", "1.12.7", "373 instances"), False, b""),  # another Orthanc
        (RUN, True, b""),
        (RUN, False, b'{"cell": tru'),  # the machine went down in the middle of a line
    ],
)
def test_what_does_not_belong_together_is_not_mixed(
    results: Results, tmp_path: Path, run: Run, fresh: bool, spoil: bytes
) -> None:
    assert results.samples
    path = tmp_path / "r.jsonl"
    path.write_bytes(path.read_bytes() + spoil)
    assert Results(path, run, fresh=fresh).samples == []


def test_the_table_gives_median_spread_and_ratio_and_names_what_failed(results: Results) -> None:
    text = report.markdown(results, HTTP)
    assert "| native | 5.0 ± 1.0 (20, 1.00) |  |" in text
    assert "| bundle | 2.5 (40, 2.00) | failed |" in text
    assert "failed: http, bundle, 4 clients: storescu ended with status 1" in text
    assert "write 100 %" in text


def test_pictures_are_drawn_of_whatever_there_is(results: Results, tmp_path: Path) -> None:
    written = charts.draw(results, HTTP, tmp_path)
    assert [path.name for path in written] == ["ingest-http.svg", "ingest-http.png"]
    assert "native" in written[0].read_text() or "<svg" in written[0].read_text()
    assert charts.draw(Results(tmp_path / "empty", RUN, fresh=True), HTTP, tmp_path) == []


@pytest.mark.parametrize("tables", [TABLES, QUICK])
def test_every_table_is_made_of_known_servers_and_has_its_baseline(tables: dict[str, object]) -> None:
    for table in (TABLES if tables is TABLES else QUICK).values():
        assert set(table.rows) <= set(VARIANTS)
        assert table.baseline in table.rows
        for column in table.columns.values():
            assert column().parallel >= 1
            assert isinstance(column().configuration(), dict)


def test_the_servers_of_one_column_take_turns() -> None:
    cells = cells_of(HTTP, 2, None, None)
    assert [(cell.round, cell.column, cell.row) for cell in cells[:3]] == [
        (0, "1 clients", "native"),
        (0, "1 clients", "bundle"),
        (0, "4 clients", "native"),
    ]


def test_a_server_that_cannot_be_had_here_is_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VARIANTS, "bundle", Variant(missing="libSomething.so is not installed"))
    assert {cell.row for cell in cells_of(HTTP, 1, None, None)} == {"native"}
    assert left_out(HTTP, None) == "Not measured: bundle: libSomething.so is not installed.\n\n"
    assert left_out(HTTP, ["native"]) == ""


def test_a_server_that_dies_costs_its_cell_and_no_other(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(cell: Cell, *_: object) -> Sample:
        if cell.row == "bundle":
            raise urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionResetError("by peer"))
        return sample(cell.row, cell.column, 1.0, cell.round)

    monkeypatch.setattr(ingest, "measure", measure)
    monkeypatch.setattr(ingest, "warm_up", lambda *_: None)
    ingest.run(results, cells_of(HTTP, 1, None, None), HTTP, [], {"own": tmp_path})
    assert results.of("http", "native", "4 clients")
    assert [one.error for one in results.failures] == ["('Connection aborted.', ConnectionResetError('by peer'))"]


def test_spread_is_the_median_and_half_the_range() -> None:
    assert spread([1.0, 5.0, 2.0]) == (2.0, 2.0)
