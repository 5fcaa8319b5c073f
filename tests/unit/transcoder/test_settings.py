"""Settings: what is accepted, and the one line an operator gets for what is not."""

from __future__ import annotations

import msgspec
import pytest

from transcoder import Rule, Settings, Transcoder, check


def test_an_empty_section_is_on_and_keeps_everything() -> None:
    settings = msgspec.json.decode(b"{}", type=Settings)
    assert settings == Settings()
    assert (settings.enable, settings.default, settings.rules, settings.verify, settings.dry_run) == (
        True,
        "Keep",
        (),
        True,
        False,
    )
    check(settings)


def test_a_full_section_is_understood() -> None:
    text = b"""{"Enable": true, "Default": "Keep", "Verify": true, "DryRun": true, "MinimumSizeBytes": 1,
        "MaximumSizeBytes": 1000000, "MaximumInflatedBytes": 1000000, "Rules": [
        {"Name": "films", "Modality": ["CR", "DX"], "MinimumBytes": 10, "MaximumBytes": 20,
        "Action": "JPEG2000Lossless"},
        {"SopClass": "CTImageStorage", "TransferSyntax": ["ImplicitVRLittleEndian", "1.2.840.10008.1.2.1"],
         "PhotometricInterpretation": "MONOCHROME2", "Origin": ["http", "cstore"], "BitsStored": [12, 16],
         "SamplesPerPixel": 1, "MinimumRows": 1, "MaximumRows": 2, "MinimumFrames": 1, "MaximumFrames": 2,
         "Action": "1.2.840.10008.1.2.4.80"}]}"""
    check(msgspec.json.decode(text, type=Settings))


@pytest.mark.parametrize("text", [b'{"Defualt": "Keep"}', b'{"Rules": [{"Modality": "CT"}]}', b'{"Enable": 1}'])
def test_unknown_keys_missing_actions_and_wrong_types_are_refused_on_reading(text: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(text, type=Settings)


ALL = "JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, HTJ2KLossless, HTJ2KLosslessRPCL, RLELossless"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            Settings(rules=(Rule(action="Keep"), Rule(action="Keep"), Rule(action="JPEG2000x"))),
            f"IngestTranscoder.Rules[2].Action: 'JPEG2000x': expected Keep or one of {ALL}, nearest 'JPEG2000Lossless'",
        ),
        (
            Settings(default="keep"),
            f"IngestTranscoder.Default: 'keep': expected Keep or one of {ALL}, nearest 'Keep'",
        ),
        (
            Settings(default="JPEGBaseline8Bit"),
            f"IngestTranscoder.Default: 'JPEGBaseline8Bit': expected lossless only: Keep or one of {ALL}",
        ),
        (
            Settings(default="1.2.840.10008.1.2.4.91"),
            f"IngestTranscoder.Default: '1.2.840.10008.1.2.4.91': expected lossless only: Keep or one of {ALL}",
        ),
        (
            Settings(rules=(Rule(action="Keep", sop_class="CtImageStorge"),)),
            "IngestTranscoder.Rules[0].SopClass: 'CtImageStorge': expected a UID or a keyword of PS3.6, "
            "nearest 'CTImageStorage'",
        ),
        (
            Settings(rules=(Rule(action="Keep", transfer_syntax=("1.2.840.10008.1.2.1", "1..2")),)),
            "IngestTranscoder.Rules[0].TransferSyntax: '1..2': expected a UID or a keyword of PS3.6",
        ),
        (
            Settings(rules=(Rule(action="Keep", modality="ct"),)),
            "IngestTranscoder.Rules[0].Modality: 'ct': expected a code of 1 to 16 capitals, digits, spaces or "
            "underscores, nearest 'CT'",
        ),
        (
            Settings(rules=(Rule(action="Keep", origin="htp"),)),
            "IngestTranscoder.Rules[0].Origin: 'htp': expected one of cstore, http, job, lua, plugin, webdav, unknown, "
            "nearest 'http'",
        ),
        (
            Settings(rules=(Rule(action="Keep", modality=()),)),
            "IngestTranscoder.Rules[0].Modality: []: expected at least one value",
        ),
        (
            Settings(rules=(Rule(action="Keep", bits_stored=(12, 0)),)),
            "IngestTranscoder.Rules[0].BitsStored: 0: expected a number from 1 to 64",
        ),
        (
            Settings(rules=(Rule(action="Keep", minimum_rows=9, maximum_rows=8),)),
            "IngestTranscoder.Rules[0].MinimumRows: 9: expected at most MaximumRows, 8",
        ),
        (
            Settings(rules=(Rule(action="Keep", name="a"), Rule(action="Keep", name="a"))),
            "IngestTranscoder.Rules[1].Name: 'a': expected a name no other rule has",
        ),
        (
            Settings(rules=(Rule(action="Keep", name="Default"),)),
            "IngestTranscoder.Rules[0].Name: 'Default': expected a name no other rule has",
        ),
    ],
)
def test_a_bad_value_is_refused_in_one_line(settings: Settings, line: str) -> None:
    with pytest.raises(ValueError, match="IngestTranscoder") as caught:
        check(settings)
    assert str(caught.value) == line
    with pytest.raises(ValueError, match="IngestTranscoder"):
        Transcoder(settings)


def test_a_value_of_any_length_still_makes_one_short_line() -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        check(Settings(default="x\n" * 10_000))
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("struct", [Settings, Rule])
def test_every_key_says_what_it_is_for(struct: type[msgspec.Struct]) -> None:
    schema = msgspec.json.schema(struct)["$defs"][struct.__name__]
    for key, described in schema["properties"].items():
        assert described.get("description"), key
