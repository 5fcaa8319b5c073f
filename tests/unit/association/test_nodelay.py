from __future__ import annotations

import os

import msgspec
import pytest

from association import Settings, nodelay


@pytest.mark.parametrize(
    ("value", "number"),
    [
        ("1", 1),
        ("0", 0),
        ("-1", -1),  # any number but 0 switches Nagle off
        (" \t1", 1),  # scanf skips white space
        ("1yes", 1),  # and stops at what is no digit
        ("0x1", 0),  # so this is 0: Nagle stays on
        ("+0", 0),
        ("4294967296", 0),  # 2**32 in an int
        ("99999999999999999999", -1),  # glibc saturates at 2**63-1, whose low 32 bits are all ones
        ("", None),
        ("yes", None),
        ("true", None),
        ("٣", None),  # a digit to Python, none to C
        ("- 1", None),
    ],
)
def test_reads_the_variable_as_dcmtk_does(value: str, number: int | None) -> None:
    assert nodelay.parse(value) == number


def test_sets_the_variable_where_the_operator_has_not() -> None:
    environ: dict[str, str] = {}
    line = nodelay.apply(Settings(), environ)
    assert environ == {"TCP_NODELAY": "1"}
    assert "TCP_NODELAY=1" in line


@pytest.mark.parametrize(
    ("value", "word"), [("1", "off"), ("0", "stays on"), ("yes", "ignores"), ("", "ignores"), ("0x1", "stays on")]
)
def test_keeps_an_operators_own_value_and_says_what_it_means(value: str, word: str) -> None:
    environ = {"TCP_NODELAY": value}
    line = nodelay.apply(Settings(), environ)
    assert environ == {"TCP_NODELAY": value}
    assert word in line
    assert "\n" not in line


@pytest.mark.parametrize("settings", [Settings(no_delay=False), Settings(enable=False)])
def test_sets_nothing_when_switched_off(settings: Settings) -> None:
    environ: dict[str, str] = {}
    assert "off" in nodelay.apply(settings, environ)
    assert environ == {}


def test_the_value_reaches_getenv(monkeypatch: pytest.MonkeyPatch) -> None:
    import ctypes

    monkeypatch.delenv("TCP_NODELAY", raising=False)
    try:
        nodelay.apply(Settings())
        libc = ctypes.CDLL(None)
        libc.getenv.restype = ctypes.c_char_p
        assert libc.getenv(b"TCP_NODELAY") == b"1"
    finally:
        # Not by monkeypatch, which would restore it, and every Orthanc of the tests after this one would have it.
        os.environ.pop("TCP_NODELAY", None)


@pytest.mark.parametrize(
    "section",
    [
        {"QuickAcks": True},  # unknown key
        {"MaxPauseMs": -1},
        {"MaxPauseMs": 21},
        {"RescanSeconds": 0},
        {"NoDelay": 1},  # an integer is no boolean
    ],
)
def test_refuses_a_bad_section(section: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(section, Settings)


def test_an_empty_section_is_all_defaults() -> None:
    settings = msgspec.convert({}, Settings)
    assert (settings.enable, settings.no_delay, settings.quick_ack, settings.outgoing) == (True, True, True, True)
