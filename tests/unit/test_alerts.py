"""The alert rules parse, speak of metrics and label values that there are, and are all explained in the docs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.orthanc_process import BUNDLE
from plugin.bundle import Bundle
from plugin.check.rehearsal import RecordingSdk
from plugin.config import parse
from plugin.rest import Request
from transcoder.outcome import WORTH_A_WARNING

FILE = BUNDLE / "docs" / "alerts.yml"
FUNCTIONS = {"increase", "rate", "sum", "by", "and", "histogram_quantile"}


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(FILE.read_text())["groups"]
    found: list[dict[str, Any]] = group["rules"]
    return found


SECTIONS: dict[str, Any] = {
    "DeferredDelete": {},
    "IngestTranscoder": {},
    "IngestGuard": {},
    "StageTiming": {},
    "DicomAssociations": {},
}
# By the section without which there is nothing to watch. What begins with none of these, the bundle has whatever is on.
OWNERS = {
    "ingest_": "StageTiming",
    "deletion": "DeferredDelete",
    "transcode": "IngestTranscoder",
    "guard_": "IngestGuard",
    "associations_": "DicomAssociations",
}


def exposed(folder: Path, sections: dict[str, Any]) -> str:
    """What GET /bundle/metrics answers before the first instance."""
    bundle = Bundle(RecordingSdk(), parse(json.dumps({"StorageDirectory": str(folder), **sections}), folder))
    bundle.register()
    (route,) = [route for route in bundle.routes() if route.path == "/bundle/metrics"]
    answer = route.handler(Request(route.path))
    bundle.stopped()
    assert answer.media_type.startswith("text/plain; version=0.0.4")
    return answer.body.decode()


def names_in(exposition: str) -> set[str]:
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", exposition, re.MULTILINE))
    return {name + "_bucket" if kind == "histogram" else name for name, kind in types.items()}


def used_by(rule: dict[str, Any]) -> set[str]:
    return set(re.findall(r"\borthanc_bundle_\w+", rule["expr"]))


def owner(metric: str) -> str:
    bare = metric.removeprefix("orthanc_bundle_")
    return next((section for start, section in OWNERS.items() if bare.startswith(start)), "")


def test_every_metric_of_a_rule_is_exposed(rules: list[dict[str, Any]], tmp_path: Path) -> None:
    exposition = exposed(tmp_path, SECTIONS)
    used = {name for rule in rules for name in used_by(rule)}
    assert len(used) >= 9
    assert used - names_in(exposition) == set()
    states = set(re.findall(r'deletions_pending\{state="(\w+)"\}', exposition))
    assert {state for rule in rules for state in re.findall(r'state="(\w+)"', rule["expr"])} <= states


@pytest.mark.parametrize("section", SECTIONS)
def test_the_rules_about_a_section_need_no_other_section(
    rules: list[dict[str, Any]], tmp_path: Path, section: str
) -> None:
    exposition = exposed(tmp_path, {section: SECTIONS[section]})
    names = names_in(exposition)
    assert any(owner(name) == section for name in names)
    for rule in rules:
        if {owner(name) for name in used_by(rule)} <= {section, ""}:
            assert used_by(rule) - names == set(), rule["alert"]


def test_with_nothing_on_there_is_no_route_for_metrics(tmp_path: Path) -> None:
    assert Bundle(RecordingSdk(), parse("{}", tmp_path)).routes() == []


def test_rules_are_whole_and_their_expressions_are_balanced(rules: list[dict[str, Any]]) -> None:
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
        bare = re.sub(r'"[^"]*"', '""', rule["expr"])
        assert all(bare.count(a) == bare.count(b) for a, b in ("()", "[]", "{}"))
        assert set(re.findall(r"\b([a-z_]+)(?= ?\()", bare)) <= FUNCTIONS


def test_the_outcomes_that_are_watched_are_the_transcoder_s(rules: list[dict[str, Any]]) -> None:
    (rule,) = [rule for rule in rules if rule["alert"] == "OrthancTranscoderDoubts"]
    pattern = re.search(r'outcome=~"([^"]*)"', rule["expr"])
    assert pattern is not None
    assert all(re.fullmatch(pattern[1], str(reason)) for reason in WORTH_A_WARNING)


def test_promtool_takes_them() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian's package prometheus)")
    done = subprocess.run([promtool, "check", "rules", str(FILE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_says_in_the_docs_what_to_do(rules: list[dict[str, Any]]) -> None:
    operations = (BUNDLE / "docs" / "operations.md").read_text()
    assert [rule["alert"] for rule in rules if f"| `{rule['alert']}` |" not in operations] == []
