"""The documentation names what there is: every key, route, metric, make target and file of the tree it describes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.orthanc_process import BUNDLE
from plugin.config import SECTIONS, CoreSettings, parse
from plugin.validation import ConfigurationError, known_keys
from release.document import CONFIGURATION, settings_types, written
from timing import STAGES, STEPS

README = BUNDLE / "README.md"
DOCS = [README, *sorted((BUNDLE / "docs").glob("*.md")), BUNDLE / "CONTRIBUTING.md"]


def test_the_tables_of_keys_are_those_of_the_code() -> None:
    text = CONFIGURATION.read_text()
    assert written(text) == text, "run 'make docs'"
    assert re.findall(r"<!-- keys:(\S+) -->", text) == list(settings_types())
    assert set(SECTIONS) <= set(settings_types())


def test_each_table_of_keys_stands_in_the_chapter_of_its_section() -> None:
    chapters = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", CONFIGURATION.read_text(), re.MULTILINE | re.DOTALL))
    for name in settings_types():
        assert f"<!-- keys:{name} -->" in chapters[name.partition(".")[0]]


def test_every_route_is_documented() -> None:
    source = "".join(path.read_text() for path in (BUNDLE / "plugin").rglob("*.py"))
    routes = set(
        re.findall(r'"(/(?:bundle|guard|deferred-delete|timing|transcoder|associations|plugins)/[^"{]*)"', source)
    )
    assert len(routes) >= 10
    operations = (BUNDLE / "docs" / "operations.md").read_text()
    assert [
        route for route in sorted(routes) if f"`{route}`" not in operations and f" {route}`" not in operations
    ] == []


def test_every_metric_is_documented() -> None:
    files = [*(BUNDLE / "plugin" / "parts").glob("*.py"), BUNDLE / "timing" / "exposition.py"]
    sources = "".join(path.read_text() for path in files)
    names = set(
        re.findall(
            r'"(?:\{PREFIX\})?((?:ingest|deletions?|transcoder?d?|guard|associations?|memory|source)_[a-z_]+)"', sources
        )
    )
    assert len(names) >= 10
    operations = (BUNDLE / "docs" / "operations.md").read_text()
    assert [name for name in sorted(names) if name not in operations] == []


def test_every_stage_and_step_has_a_row_in_the_chapter_on_stages() -> None:
    chapter = (BUNDLE / "docs" / "operations.md").read_text().partition("\n## Stages\n")[2].partition("\n## ")[0]
    of_stages, of_steps = chapter.split("| stage | step | what |")
    assert set(re.findall(r"^\| `(\w+)` \|", of_stages, re.MULTILINE)) == {stage.name for stage in STAGES}
    rows = re.findall(r"^\| (?:`\w+` )?\| `(\w+)` \|", of_steps, re.MULTILINE)
    assert rows == [step.name for step in STEPS]


def test_every_stage_has_a_colour_on_the_page() -> None:
    listed = re.search(r"^const STAGES = \[(.*)\];$", (BUNDLE / "plugin/pages/charts.js").read_text(), re.MULTILINE)
    assert listed is not None
    assert {*re.findall(r'"(\w+)"', listed[1]), "total"} == {stage.name for stage in STAGES}


def test_every_make_target_is_described_and_documented() -> None:
    makefile = (BUNDLE / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert targets == described
    text = "".join(path.read_text() for path in DOCS)
    assert [target for target in sorted(targets - {"help"}) if f"make {target}" not in text] == []


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_links_within_the_repository_lead_somewhere(path: object) -> None:
    document = Path(str(path))
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / link).exists(), f"{document.name}: {link}"


# Options of the core that the page speaks of and the bundle does not read. Orthanc itself is asked whether they are, in
# tests/integration/test_configuration.py.
OF_ORTHANC = {
    "Plugins",
    "DicomModalities",
    "DicomModalitiesInDatabase",
    "DicomTlsEnabled",
    "RemoteAccessAllowed",
    "SslTrustedClientCertificates",
}
# Keys of other plugins, and what the SDK calls its own.
OF_OTHERS = {"DatabaseServerIdentifier", "EnableStorage", "PythonScript"}


def test_the_page_on_configuration_names_only_keys_that_there_are_and_all_of_orthanc_s_that_are_read() -> None:
    from deferred_delete.settings import DelayedDeletionSettings
    from transcoder.syntaxes import LOSSY_TARGETS_BY_KEYWORD, TARGETS_BY_KEYWORD

    ours = {
        key for kind in (*settings_types().values(), CoreSettings, DelayedDeletionSettings) for key in known_keys(kind)
    }
    words = set(re.findall(r"`([A-Z][A-Za-z0-9]+)`", CONFIGURATION.read_text()))
    syntaxes = {*TARGETS_BY_KEYWORD, *LOSSY_TARGETS_BY_KEYWORD, "Keep"}
    assert words - ours - set(SECTIONS) - {"DelayedDeletion"} - syntaxes - OF_ORTHANC - OF_OTHERS == set()
    assert known_keys(CoreSettings) - words == set()


def test_the_refusals_that_the_page_shows_are_those_of_the_code() -> None:
    import json

    shown = re.findall(r"^The ingest bundle refuses to start: (.*)$", CONFIGURATION.read_text(), re.MULTILINE)
    documents: list[dict[str, object]] = [
        {"DeferredDelete": {"GracePeriode": 5}},
        {"DeferredDelete": {"GracePeriod": -1}},
        {"DeferedDelete": {}},
    ]
    said = []
    for document in documents:
        with pytest.raises(ConfigurationError) as refusal:
            parse(json.dumps(document), Path("/etc/orthanc"))
        said.append(str(refusal.value))
    assert shown == said


def test_every_example_of_the_pages_is_a_configuration_that_starts() -> None:
    found = 0
    for document in (README, CONFIGURATION):
        for block in re.findall(r"^ *```json\n(.*?)^ *```", document.read_text(), re.MULTILINE | re.DOTALL):
            parse(f"{{{block}}}", Path("/etc/orthanc"))
            found += 1
    assert found >= 2


def test_the_table_of_transcodings_is_the_transcoder_s() -> None:
    from transcoder.syntaxes import LOSSY_TARGETS_BY_KEYWORD, TARGETS_BY_KEYWORD

    targets = TARGETS_BY_KEYWORD | LOSSY_TARGETS_BY_KEYWORD
    rows = dict(re.findall(r"^\| `(\w+)` \| (1\.2\.840[\d.]+) \|", CONFIGURATION.read_text(), re.MULTILINE))
    assert rows == {keyword: str(target.value) for keyword, target in targets.items()}


def test_every_file_that_contributing_names_is_there() -> None:
    named = set(re.findall(r"`([\w./-]+/[\w.-]*)`", (BUNDLE / "CONTRIBUTING.md").read_text()))
    assert len(named) >= 20
    roots = (BUNDLE, BUNDLE / "tests", BUNDLE / "tests" / "unit")
    made = ("env/", ".venv/", "var/")  # by make
    missing = [
        path for path in named if not path.startswith(made) and not any((root / path).exists() for root in roots)
    ]
    assert missing == []


def test_every_folder_of_the_map_is_there() -> None:
    chapter = (BUNDLE / "docs" / "design.md").read_text().partition("\n## The map\n")[2]
    top, missing, found = "", [], 0
    for indent, name in re.findall(r"^(  )?(\w+/) ", chapter.split("```")[1], re.MULTILINE):
        top = top if indent else name
        found += 1
        missing += [] if (BUNDLE / (top + name if indent else name)).is_dir() else [top + name if indent else name]
    assert found >= 25
    assert missing == []
