"""Explains which rule decides about a file and why, condition by condition, and what the outcome would be."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from .input.data_set import open_data_set
from .input.file_meta import read_file_meta
from .outcome import KeptError
from .policy.policy import Condition, Decision, Facts, facts_of
from .settings import KEEP
from .transcoder import Transcoder


@dataclass(frozen=True, slots=True)
class ExplainedCondition:
    """A condition, what the file has, and whether it holds."""

    key: str
    wanted: str
    found: str | int | None
    holds: bool


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """A rule with all its conditions; ``decides`` is true of the first that matches."""

    rule: str
    action: str
    matches: bool
    decides: bool
    conditions: list[ExplainedCondition]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a file is, which rules match it, and what its outcome would be.

    Attributes:
        facts: what rules can ask; empty where the header cannot be read.
        rules: in order, the default last; empty likewise.
        outcome: why it would be transcoded or kept, in the words of the counters.
        detail: one line more, where there is one.
        bytes_in: size of the file.
        bytes_out: size of what would be stored.
    """

    facts: dict[str, Any]
    rules: list[ExplainedRule]
    outcome: str
    detail: str
    bytes_in: int
    bytes_out: int


def explain(transcoder: Transcoder, dicom: bytes, origin: str) -> Explanation:
    """Explain the decision about one file.

    All the work is done, encoding and verification included, and its result dropped. Nothing is raised, counted or
    logged.
    """
    outcome = transcoder.tried(dicom, origin)
    facts = _facts(transcoder, dicom, origin)
    rules = [] if facts is None else _rules(transcoder, facts)
    return Explanation(
        facts=asdict(facts) if facts else {},
        rules=rules,
        outcome=str(outcome.reason),
        detail=outcome.detail,
        bytes_in=outcome.bytes_in,
        bytes_out=outcome.bytes_out,
    )


def _facts(transcoder: Transcoder, dicom: bytes, origin: str) -> Facts | None:
    received = memoryview(dicom)
    try:
        meta = read_file_meta(received)
        header = open_data_set(
            received[meta.end :], meta.transfer_syntax, transcoder.settings.maximum_inflated_bytes, transcoder.decodable
        )
    except KeptError:
        return None
    return facts_of(header, transfer_syntax=meta.transfer_syntax, origin=origin, size_bytes=len(dicom))


def _rules(transcoder: Transcoder, facts: Facts) -> list[ExplainedRule]:
    decided = False
    explained = []
    for conditions, decision in transcoder.policy.rules:
        rule = _rule(conditions, decision, facts, decided=decided)
        decided = decided or rule.decides
        explained.append(rule)
    return explained


def _rule(conditions: tuple[Condition, ...], decision: Decision, facts: Facts, *, decided: bool) -> ExplainedRule:
    listed = [
        ExplainedCondition(condition.key, condition.wanted, getattr(facts, condition.fact), condition(facts))
        for condition in conditions
    ]
    matches = all(condition.holds for condition in listed)
    return ExplainedRule(
        rule=decision.rule,
        action=KEEP if decision.target is None else decision.target.keyword,
        matches=matches,
        decides=matches and not decided,
        conditions=listed,
    )
