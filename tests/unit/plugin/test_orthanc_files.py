"""Configuration files as Orthanc reads them. The same files before a live Orthanc: tests/integration/test_check.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from plugin.check.orthanc_files import read, substitute, without_comments
from plugin.validation import ConfigurationError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${NAME}", "archive"),
        ("${NOTHING}", ""),
        ("a${NAME:-other}b", "aarchiveb"),
        ("${NOTHING:-other}", "other"),
        # The quotes around a default are not part of it.
        ('${NOTHING:-"an other"}', "an other"),
        ("${NOTHING:-'an other'}", "an other"),
        ("$NAME $${NAME}", "$NAME $archive"),
    ],
)
def test_variables_have_the_values_that_the_core_gives_them(text: str, value: str) -> None:
    assert substitute(text, {"NAME": "archive"}) == value


def test_comments_go_and_what_only_looks_like_one_stays() -> None:
    text = '{ // one\n "a": "http://x /* no */", /* two\n lines */ "b": [1, 2,],\n "c": "\\"// no",\n}'
    plain = without_comments(text)
    assert "one" not in plain
    assert "lines" not in plain
    assert len(plain) == len(text)
    assert plain.count("\n") == text.count("\n")
    import json

    assert json.loads(plain) == {"a": "http://x /* no */", "b": [1, 2], "c": '"// no'}


def test_a_folder_s_files_are_merged_and_other_files_are_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"Name": "archive"}')
    (tmp_path / "two.JSON").write_text('{"HttpPort": 8043}')
    (tmp_path / "old.json.bak").write_text("nonsense")
    (tmp_path / "inside.json").mkdir()
    files = read(tmp_path)
    assert files.document == {"Name": "archive", "HttpPort": 8043}
    assert files.folder == tmp_path
    assert files.sources["HttpPort"] == tmp_path / "two.JSON"
    assert files.remarks == []


@pytest.mark.parametrize(
    ("files", "line"),
    [
        ({"a.json": '{"Name": 1}', "b.json": '{"Name": 2}'}, r"Name: in .*a\.json and in .*b\.json"),
        ({"a.json": '{\n "Name": \n}'}, r"a\.json, line 3, column 1: no JSON"),
        ({"a.json": "[1]"}, r"a\.json: \[1\]: expected an object"),
    ],
    ids=["twice", "no JSON", "no object"],
)
def test_what_orthanc_does_not_take_is_refused_with_its_place(tmp_path: Path, files: dict[str, str], line: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=line):
        read(tmp_path)


def test_what_is_taken_without_a_word_is_remarked(tmp_path: Path) -> None:
    path = tmp_path / "orthanc.json"
    path.write_text('{"Name": "${SITE}", "Name": "two"}')
    remarks = read(path).remarks
    assert ["SITE" in remarks[0], "Name is there twice" in remarks[1]] == [True, True]
    path.write_text("{}")
    assert "holds no key at all" in read(path).remarks[0]
