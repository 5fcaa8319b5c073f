"""Explanations agree with what `transcode` then does, and count nothing."""

from __future__ import annotations

import pytest

from tests.support.samples import wheel, wheel_files
from transcoder import Explanation, Rule, Settings, Transcoder, explain

RULES = (
    Rule(name="magnetic", action="Keep", modality="MR", minimum_rows=100),
    Rule(
        name="slices", action="JPEGLSLossless", modality=("CT", "MR"), bits_stored=16, minimum_rows=16, maximum_rows=512
    ),
    Rule(name="again", action="RLELossless", origin="http"),
)
TRANSCODER = Transcoder(Settings(rules=RULES, default="HTJ2KLossless"))


def explained(name: str, origin: str = "http") -> Explanation:
    return explain(TRANSCODER, wheel(name), origin)


def test_every_rule_is_shown_with_what_was_found_and_one_decides() -> None:
    explanation = explained("CT_small.dcm")
    assert [(rule.rule, rule.action, rule.matches, rule.decides) for rule in explanation.rules] == [
        ("magnetic", "Keep", False, False),
        ("slices", "JPEGLSLossless", True, True),
        ("again", "RLELossless", True, False),
        ("Default", "HTJ2KLossless", True, False),
    ]
    modality, rows = explanation.rules[0].conditions
    assert (modality.key, modality.wanted, modality.found, modality.holds) == ("Modality", "one of MR", "CT", False)
    assert (rows.key, rows.wanted, rows.found, rows.holds) == ("Rows", "at least 100", 128, True)
    assert explanation.rules[1].conditions[2].wanted == "at least 16 and at most 512"
    assert explanation.outcome == "transcoded"
    assert explanation.bytes_out < explanation.bytes_in == len(wheel("CT_small.dcm"))
    assert explanation.facts["sop_class"] == "1.2.840.10008.5.1.4.1.1.2"


def test_origin_is_one_of_the_facts() -> None:
    explanation = explained("examples_rgb_color.dcm", "cstore")
    assert [rule.rule for rule in explanation.rules if rule.decides] == ["Default"]


@pytest.mark.parametrize(
    ("name", "outcome"), [("MR_small_RLE.dcm", "kept: already compressed"), ("zipMR.gz", "kept: not a DICOM file")]
)
def test_a_file_that_no_rule_is_asked_about_says_why(name: str, outcome: str) -> None:
    explanation = explained(name)
    assert (explanation.outcome, explanation.rules, explanation.facts) == (outcome, [], {})


def test_what_is_explained_is_what_is_done_for_every_real_file_and_explaining_counts_nothing() -> None:
    transcoder = Transcoder(Settings(rules=RULES))
    for name, path in wheel_files().items():
        dicom = path.read_bytes()
        before = transcoder.counters()
        explanation = explain(transcoder, dicom, "http")
        assert transcoder.counters() == before
        outcome = transcoder.transcode(dicom, "http")
        assert (explanation.outcome, explanation.bytes_out) == (str(outcome.reason), outcome.bytes_out), name
        decides = [rule.rule for rule in explanation.rules if rule.decides]
        assert not outcome.rule or decides == [outcome.rule], name
