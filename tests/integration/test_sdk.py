"""The SDK stub and the typings, held against the SDK of the Orthanc that is installed."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE
from tests.conftest import ServerFactory
from tests.support.stub_orthanc import ENUMERATIONS, FUNCTIONS

pytestmark = pytest.mark.orthanc

# Functions that older SDKs lack and the bundle asks for with getattr.
OPTIONAL = {"GetDatabaseServerIdentifier"}

PROBE = """
import json, orthanc
found = {}
for name in dir(orthanc):
    value = getattr(orthanc, name)
    names = [key for key in dir(value) if not key.startswith("_")]
    found[name] = {key: getattr(value, key) for key in names} if isinstance(value, type) else None
open(%r, "w").write(json.dumps(found, default=str))
"""


@pytest.fixture
def live_sdk(make_server: ServerFactory, tmp_path: Path) -> dict[str, dict[str, object] | None]:
    """What `dir(orthanc)` is inside the installed server: functions as None, classes with their public attributes."""
    answer = tmp_path / "sdk.json"
    script = tmp_path / "probe.py"
    script.write_text(PROBE % str(answer))
    server = make_server({"PythonScript": str(script)})
    with server:
        found: dict[str, dict[str, object] | None] = json.loads(answer.read_text())
    return found


def test_every_name_of_the_typings_is_in_the_live_sdk(live_sdk: dict[str, dict[str, object] | None]) -> None:
    tree = ast.parse((BUNDLE / "typings" / "orthanc.pyi").read_text())
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name not in OPTIONAL:
            assert node.name in live_sdk, f"orthanc.{node.name} is typed but the server has no such function"
        if isinstance(node, ast.ClassDef):
            members = live_sdk.get(node.name)
            assert members is not None, f"orthanc.{node.name} is typed but the server has no such class"
            for inner in node.body:
                name = (
                    inner.target.id
                    if isinstance(inner, ast.AnnAssign) and isinstance(inner.target, ast.Name)
                    else getattr(inner, "name", "")
                )
                assert not name or name in members, f"orthanc.{node.name}.{name} is typed but the server has none"


def test_the_stub_has_the_live_sdk_s_values_and_functions(live_sdk: dict[str, dict[str, object] | None]) -> None:
    for name, values in ENUMERATIONS.items():
        members = live_sdk[name]
        assert members is not None
        assert {key: members.get(key) for key in values} == values
    assert set(FUNCTIONS) <= set(live_sdk)


def test_the_typings_and_the_stub_name_the_same_functions() -> None:
    tree = ast.parse((BUNDLE / "typings" / "orthanc.pyi").read_text())
    typed = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert typed - OPTIONAL == set(FUNCTIONS)
