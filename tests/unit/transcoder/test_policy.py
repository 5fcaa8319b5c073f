"""Rules: one table row per condition, that it holds where it should and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from transcoder import Rule, Settings
from transcoder.policy.policy import Decision, Facts, Policy
from transcoder.syntaxes import Target

CT = "1.2.840.10008.5.1.4.1.1.2"
FACTS = Facts(
    modality="CT",
    sop_class=CT,
    transfer_syntax="1.2.840.10008.1.2.1",
    photometric_interpretation="MONOCHROME2",
    origin="http",
    bits_stored=12,
    samples_per_pixel=1,
    rows=512,
    frames=1,
    size_bytes=500_000,
)


@pytest.mark.parametrize(
    ("conditions", "matches"),
    [
        ({}, True),
        ({"modality": "CT"}, True),
        ({"modality": "MR"}, False),
        ({"modality": ("MR", "CT")}, True),
        ({"sop_class": "CTImageStorage"}, True),
        ({"sop_class": CT}, True),
        ({"sop_class": ("MRImageStorage", "1.3.6.1.4.1.1")}, False),
        ({"transfer_syntax": "ExplicitVRLittleEndian"}, True),
        ({"transfer_syntax": ("ImplicitVRLittleEndian", "1.2.840.10008.1.2.1")}, True),
        ({"transfer_syntax": "DeflatedExplicitVRLittleEndian"}, False),
        ({"photometric_interpretation": "MONOCHROME2"}, True),
        ({"photometric_interpretation": ("RGB", "PALETTE COLOR")}, False),
        ({"origin": "http"}, True),
        ({"origin": ("cstore", "job")}, False),
        ({"bits_stored": 12}, True),
        ({"bits_stored": (8, 16)}, False),
        ({"samples_per_pixel": 1}, True),
        ({"samples_per_pixel": 3}, False),
        ({"minimum_bytes": 500_000, "maximum_bytes": 500_000}, True),  # both ends belong to the range
        ({"minimum_bytes": 500_001}, False),
        ({"maximum_bytes": 499_999}, False),
        ({"minimum_rows": 512, "maximum_rows": 512}, True),
        ({"minimum_rows": 513}, False),
        ({"maximum_frames": 1}, True),
        ({"minimum_frames": 2}, False),
        ({"modality": "CT", "origin": "cstore"}, False),  # all must hold
    ],
)
def test_a_condition_holds_where_it_should(conditions: dict[str, object], matches: bool) -> None:
    rule = Rule(action="RLELossless", name="it", **conditions)  # type: ignore[arg-type]
    decision = Policy(Settings(rules=(rule,))).decide(FACTS)
    assert decision == (Decision("it", Target.RLE_LOSSLESS) if matches else Decision("Default", None))


@pytest.mark.parametrize(
    ("fact", "condition"),
    [
        ("modality", {"modality": "CT"}),
        ("sop_class", {"sop_class": CT}),
        ("photometric_interpretation", {"photometric_interpretation": "MONOCHROME2"}),
        ("bits_stored", {"bits_stored": 12}),
        ("samples_per_pixel", {"samples_per_pixel": 1}),
        ("rows", {"minimum_rows": 0}),
        ("frames", {"maximum_frames": 10}),
    ],
)
def test_a_condition_on_what_is_absent_does_not_hold(fact: str, condition: dict[str, object]) -> None:
    rule = Rule(action="RLELossless", **condition)  # type: ignore[arg-type]
    assert Policy(Settings(rules=(rule,))).decide(replace(FACTS, **{fact: None})).rule == "Default"


def test_the_first_rule_that_matches_decides_and_unnamed_ones_are_called_by_number() -> None:
    rules = (
        Rule(action="Keep", modality="MR"),
        Rule(action="JPEGLSLossless", minimum_rows=100),
        Rule(action="RLELossless"),
    )
    policy = Policy(Settings(rules=rules, default="HTJ2KLossless"))
    assert policy.decide(FACTS) == Decision("Rules[1]", Target.JPEG_LS_LOSSLESS)
    assert policy.decide(replace(FACTS, rows=10)) == Decision("Rules[2]", Target.RLE_LOSSLESS)
    assert policy.targets == {Target.JPEG_LS_LOSSLESS, Target.RLE_LOSSLESS, Target.HTJ2K_LOSSLESS}
