"""The settings of lossy rules: what is accepted, and the one line an operator gets for what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from plugin.config import parse
from plugin.validation import ConfigurationError
from transcoder import Settings, check

LOSSLESS = "JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL, RLELossless"
AT = "IngestTranscoder.Rules[0]"


def refusal(section: dict[str, object]) -> str:
    with pytest.raises(ConfigurationError) as refused:
        parse(json.dumps({"IngestTranscoder": section}), Path("/etc/orthanc"))
    line = str(refused.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        (
            {"Action": "JPEGLSNearLossless"},
            f"{AT}.Lossy: JPEGLSNearLossless loses information, and the rule says nothing of it: "
            'expected "Lossy": {"MaximumError": 2}, or a lossless target',
        ),
        (
            {"Action": "1.2.840.10008.1.2.4.91", "Lossy": {}},
            f"{AT}.Lossy: JPEG2000 loses information, and the rule has no bound: "
            'expected "Lossy": {"MaximumRmsError": 4}, or a lossless target',
        ),
        (
            {"Action": "JPEG2000", "Lossy": {"MaximumError": 2}},
            f"{AT}.Lossy: JPEG2000 loses information, and the rule has MaximumError: "
            'expected "Lossy": {"MaximumRmsError": 4}, or a lossless target',
        ),
        (
            {"Action": "JPEGLSNearLossless", "Lossy": {"MaximumError": 2, "MaximumRmsError": 2}},
            f"{AT}.Lossy: JPEGLSNearLossless loses information, and the rule has MaximumError and MaximumRmsError: "
            'expected "Lossy": {"MaximumError": 2}, or a lossless target',
        ),
        (
            {"Action": "JPEGLSLossless", "Lossy": {"MaximumError": 2}},
            f"{AT}.Lossy: beside JPEGLSLossless, which loses nothing: "
            "expected it beside JPEGLSNearLossless or JPEG2000 only",
        ),
        (
            {"Action": "Keep", "Lossy": {"MaximumError": 2}},
            f"{AT}.Lossy: beside Keep, which loses nothing: expected it beside JPEGLSNearLossless or JPEG2000 only",
        ),
        (
            {"Action": "JPEGBaseline8Bit", "Lossy": {"MaximumError": 2}},
            f"{AT}.Action: 'JPEGBaseline8Bit': expected lossless only: Keep or one of {LOSSLESS}, "
            "or with Lossy one of JPEGLSNearLossless, JPEG2000",
        ),
        (
            {"Action": "JPEGLSNearLossless", "Lossy": {"MaximumError": 0}},
            f"{AT}.Lossy.MaximumError: 0: expected int >= 1",
        ),
        (
            {"Action": "JPEGLSNearLossless", "Lossy": {"MaximumError": 256}},
            f"{AT}.Lossy.MaximumError: 256: expected int <= 255",
        ),
        (
            {"Action": "JPEG2000", "Lossy": {"MaximumRmsError": 0.9}},
            f"{AT}.Lossy.MaximumRmsError: 0.9: expected float >= 1.0",
        ),
        (
            {"Action": "JPEG2000", "Lossy": {"Ratio": 10}},
            f"{AT}.Lossy.Ratio: unknown key: ",
        ),
        ({"Action": "JPEG2000", "Lossy": True}, f"{AT}.Lossy: true: expected "),
    ],
)
def test_a_rule_that_would_lose_something_says_how_much_or_stops_the_start(rule: dict[str, object], line: str) -> None:
    said = refusal({"Rules": [rule]})
    assert said == line if not line.endswith(" ") else said.startswith(line)


@pytest.mark.parametrize("target", ["JPEGLSNearLossless", "JPEG2000", "1.2.840.10008.1.2.4.81"])
def test_the_default_never_loses_anything(target: str) -> None:
    assert refusal({"Default": target}) == (
        f"IngestTranscoder.Default: '{target}': expected lossless only: Keep or one of {LOSSLESS}"
    )
    # There is no such key beside it either.
    assert "IngestTranscoder.Lossy: unknown key" in refusal({"Default": target, "Lossy": {"MaximumError": 1}})


def test_rules_that_say_so_are_understood() -> None:
    rules = [
        {"Action": "JPEGLSNearLossless", "Lossy": {"MaximumError": 1}},
        {"Action": "1.2.840.10008.1.2.4.81", "Lossy": {"MaximumError": 255, "Again": True}},
        {"Action": "JPEG2000", "Lossy": {"MaximumRmsError": 2.5}},
        {"Action": "JPEG2000", "Lossy": {"MaximumRmsError": 1000}},
    ]
    settings = parse(json.dumps({"IngestTranscoder": {"Rules": rules}}), Path("/etc/orthanc")).ingest_transcoder
    assert isinstance(settings, Settings)
    check(settings)
