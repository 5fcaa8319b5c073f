"""Any text or exception as one line."""

from __future__ import annotations

import pytest

from support.one_line import one_line


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("two\nlines\t and  spaces ", "two lines and spaces"),
        ("", ""),
        (OSError("a\nb"), "a b"),
        (OSError(), "OSError"),  # an exception always says something
        ("/srv/\udcff", "/srv/\\udcff"),  # a folder's name that is no UTF-8
    ],
)
def test_text_becomes_one_line(what: str | Exception, line: str) -> None:
    assert one_line(what) == line


def test_a_line_is_cut_and_the_type_is_not_counted() -> None:
    assert one_line("x" * 300, 200) == "x" * 200
    assert one_line(ValueError("x" * 300), 200, with_type=True) == "ValueError: " + "x" * 200


def test_the_type_stands_alone_without_a_text() -> None:
    assert one_line(ValueError(), 200, with_type=True) == "ValueError"
