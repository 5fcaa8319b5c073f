"""The documentation names what there is: every key, route, metric, make target and file of the tree it describes."""

from __future__ import annotations

import re

import pytest

from harness.document import README, settings_types, written
from harness.orthanc_process import BUNDLE
from plugin.config import SECTIONS

DOCS = [README, *sorted((BUNDLE / "docs").glob("*.md")), BUNDLE / "CONTRIBUTING.md"]


def test_the_tables_of_keys_are_those_of_the_code() -> None:
    text = README.read_text()
    assert written(text) == text, "run 'make docs'"
    for name in settings_types():
        assert f"<!-- keys:{name} -->" in text
    assert set(SECTIONS) <= set(settings_types())


def test_every_route_is_documented() -> None:
    source = "".join(path.read_text() for path in (BUNDLE / "plugin").rglob("*.py"))
    routes = set(re.findall(r'"(/(?:bundle|deferred-delete|timing|transcoder|associations|plugins)/[^"{]*)"', source))
    assert len(routes) >= 10
    operations = (BUNDLE / "docs" / "operations.md").read_text()
    assert [
        route for route in sorted(routes) if f"`{route}`" not in operations and f" {route}`" not in operations
    ] == []


def test_every_metric_is_documented() -> None:
    files = [*(BUNDLE / "plugin" / "parts").glob("*.py"), BUNDLE / "timing" / "exposition.py"]
    sources = "".join(path.read_text() for path in files)
    names = set(
        re.findall(r'"(?:\{PREFIX\})?((?:ingest|deletions?|transcoder?d?|associations?|source)_[a-z_]+)"', sources)
    )
    assert len(names) >= 10
    operations = (BUNDLE / "docs" / "operations.md").read_text()
    assert [name for name in sorted(names) if name not in operations] == []


def test_every_make_target_is_described_and_documented() -> None:
    makefile = (BUNDLE / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert targets == described
    text = "".join(path.read_text() for path in DOCS)
    assert [target for target in sorted(targets - {"help"}) if f"make {target}" not in text] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(path: object) -> None:
    from pathlib import Path

    document = Path(str(path))
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / link).exists(), f"{document.name}: {link}"
