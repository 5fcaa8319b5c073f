"""docs/container: the Dockerfile copies what `make bundle` writes, and the compose file sets keys that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from harness.orthanc_process import BUNDLE
from plugin.config import SECTIONS, parse
from release import packing
from tests.support.dockerfile import arguments, filled, instructions

FOLDER = BUNDLE / "docs" / "container"
STEPS = instructions(FOLDER / "Dockerfile")
# What the compose specification says of the keys that are used here: its types, and no key besides.
COMPOSE = {
    "type": "object",
    "additionalProperties": False,
    "required": ["services", "volumes"],
    "properties": {
        "volumes": {"type": "object", "additionalProperties": {"type": "null"}},
        "services": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "additionalProperties": False,
                "required": ["image", "volumes", "stop_grace_period", "container_name"],
                "properties": {
                    "image": {"type": "string"},
                    "build": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"context": {"type": "string"}, "dockerfile": {"type": "string"}},
                    },
                    "container_name": {"type": "string"},
                    "restart": {"enum": ["no", "always", "on-failure", "unless-stopped"]},
                    "stop_grace_period": {"type": "string", "pattern": r"^\d+[ms]$"},
                    "ports": {"type": "array", "items": {"type": "string", "pattern": r"^\d+:\d+$"}},
                    # Texts, and no numbers or booleans, which YAML would make of them.
                    "environment": {"type": "object", "additionalProperties": {"type": "string"}},
                    "volumes": {"type": "array", "items": {"type": "string", "pattern": "^[a-z]+:/"}},
                    "healthcheck": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {
                            "test": {"type": "array", "items": {"type": "string"}},
                            "interval": {"type": "string"},
                            "timeout": {"type": "string"},
                            "start_period": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
}


@pytest.fixture
def service() -> dict[str, Any]:
    document = yaml.safe_load((FOLDER / "compose.yml").read_text())
    Draft202012Validator(COMPOSE).validate(document)
    (service,) = document["services"].values()
    named = {volume.partition(":")[0] for volume in service["volumes"]}
    assert named == set(document["volumes"])
    return dict(service)


def test_the_dockerfile_adds_nothing_but_the_archive_and_takes_no_step_but_its_installer() -> None:
    values = arguments(STEPS)
    assert values["BUNDLE"] + ".tar.gz" == packing.archive_name("3.11")
    added = [filled(step.rest, values).split() for step in STEPS if step.name == "ADD"]
    assert added == [[f"dist/{packing.archive_name('3.11')}", "/"]]
    (run,) = [filled(step.rest, values) for step in STEPS if step.name == "RUN"]
    command = run.split()[-2:]
    assert command == [f"/{values['BUNDLE']}/install.sh", "install"]
    assert set(packing.scripts(["install.sh"])) == {"install.sh"}
    assert {step.name for step in STEPS} == {"ARG", "FROM", "ADD", "RUN", "COPY"}


def test_the_image_gets_what_the_installer_has_made_and_no_more() -> None:
    stages = [step.words[2] for step in STEPS if step.name == "FROM" and "AS" in step.words]
    copied = [step.words for step in STEPS if step.name == "COPY"]
    assert [words[0] for words in copied] == [f"--from={stage}" for stage in stages for _ in copied]
    installer = (BUNDLE / "install.sh").read_text()
    (prefix,) = re.findall(r"^PREFIX=\$\{PREFIX:-(.*)\}$", installer, re.MULTILINE)
    assert [words[1:] for words in copied] == [[prefix, prefix], ["/etc/orthanc", "/etc/orthanc"]]


def test_the_compose_file_builds_this_dockerfile_from_the_folder_that_has_dist(service: dict[str, Any]) -> None:
    context = (FOLDER / service["build"]["context"]).resolve()
    assert context == BUNDLE
    assert context / service["build"]["dockerfile"] == FOLDER / "Dockerfile"


def test_the_variables_of_the_compose_file_are_keys_that_the_bundle_takes(service: dict[str, Any]) -> None:
    """orthancteam/orthanc makes a key of a variable: two underscores go one level down, one begins a word."""
    document: dict[str, Any] = {}
    for name, value in service["environment"].items():
        *sections, key = [
            "".join(map(str.title, each.split("_"))) for each in name.removeprefix("ORTHANC__").split("__")
        ]
        place = document.setdefault(sections[0], {}) if sections else document
        place[key] = json.loads(value) if re.match(r"[{\d]", value) else value
    assert set(document) & set(SECTIONS)
    parse(json.dumps(document), Path("/tmp"))
    assert document["RegisteredUsers"]


def test_what_must_outlive_the_container_is_on_the_volume(service: dict[str, Any]) -> None:
    assert [volume.partition(":")[2] for volume in service["volumes"]] == ["/var/lib/orthanc/db"]


def test_the_page_names_archives_of_this_version() -> None:
    page = (BUNDLE / "docs" / "container.md").read_text()
    named = set(re.findall(rf"{packing.NAME}-[\w.-]+?-py\d+", page))
    assert named == {packing.archive_name(python).removesuffix(".tar.gz") for python in ("3.11", "3.13")}
