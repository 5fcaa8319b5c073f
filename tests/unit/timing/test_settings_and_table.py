import io
from typing import Any

import msgspec
import pytest
from rich.console import Console

from timing import STAGES, Recorder, Settings
from timing.table import stage_tables

from .conftest import Clock
from .test_recorder import store


def printed(snapshot: Any) -> str:
    console = Console(file=io.StringIO(), width=80, color_system=None)
    console.print(stage_tables(snapshot))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_settings_are_read_from_pascal_case_keys() -> None:
    settings = msgspec.convert({"Enable": False, "Slowest": 5, "SlowestMinutes": 5, "StaleSeconds": 60}, Settings)
    assert settings == Settings(enable=False, slowest=5, slowest_minutes=5, stale_seconds=60)


@pytest.mark.parametrize(
    "section",
    [
        {"Slowset": 3},  # an unknown key
        {"Slowest": -1},  # below the range
        {"Slowest": "32"},  # a number in quotes
        {"StaleSeconds": 0},  # everything would be stale at once
        {"Enable": 1},  # no boolean
    ],
)
def test_a_wrong_section_is_refused(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Settings)


def test_every_setting_is_described() -> None:
    for field in msgspec.inspect.type_info(Settings).fields:  # type: ignore[attr-defined]
        extra = field.type.extra_json_schema if isinstance(field.type, msgspec.inspect.Metadata) else None
        assert extra, field.encode_name
        assert extra["description"], field.encode_name


def test_every_stage_says_where_it_begins_and_ends() -> None:
    assert all(all(stage) for stage in STAGES)
    assert len({stage.name for stage in STAGES}) == len(STAGES)


def test_the_table_of_a_decoded_snapshot_fits_80_columns(recorder: Recorder, clock: Clock) -> None:
    for _ in range(30):
        store(recorder, clock, "cstore", 600_000_000)
    recorder.received("cstore", 1)
    recorder.received("cstore", 1)
    store(recorder, clock)
    text = printed(msgspec.json.decode(msgspec.json.encode(recorder.snapshot())))
    assert "C-STORE: 30 instances" in text
    assert "2 received and never stored" in text
    assert "50.0%" in text
    assert "…" not in text
    assert max(len(line) for line in text.splitlines()) <= 80


def test_the_table_of_nothing_says_so(recorder: Recorder) -> None:
    assert "No instance was stored yet" in printed(recorder.snapshot())


def test_what_is_no_snapshot_is_refused_with_the_field_named() -> None:
    with pytest.raises(msgspec.ValidationError, match="since"):
        stage_tables({"protocols": []})
