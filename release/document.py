"""`make docs`: writes the tables of configuration keys into docs/configuration.md from the code."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import msgspec

from harness.orthanc_process import BUNDLE

CONFIGURATION = BUNDLE / "docs" / "configuration.md"
# Optional keys that are no conditions of a rule. A condition that is absent matches any instance.
_NO_CONDITIONS = {"lossy", "maximum_error", "maximum_rms_error"}
_BLOCK = re.compile(r"(<!-- keys:(?P<name>\S+) -->\n).*?(<!-- /keys -->)", re.DOTALL)


def settings_types() -> dict[str, Any]:
    """Sections of orthanc.json, and the structures inside them, by the name of their block in the page."""
    from association.settings import Settings as Association
    from deferred_delete.settings import Settings as Deletion
    from guard.settings import Settings as Guarding
    from timing.settings import Settings as Timing
    from transcoder.settings import Lossy, Rule
    from transcoder.settings import Settings as Transcoding

    return {
        "DeferredDelete": Deletion,
        "IngestTranscoder": Transcoding,
        "IngestTranscoder.Rules[]": Rule,
        "IngestTranscoder.Rules[].Lossy": Lossy,
        "IngestGuard": Guarding,
        "StageTiming": Timing,
        "DicomAssociations": Association,
    }


def table(kind: Any) -> str:
    """One section's keys as a Markdown table: key, default, meaning.

    Raises:
        ValueError: a key has no description.
    """
    lines = ["| key | default | meaning |", "|---|---|---|"]
    for field in msgspec.structs.fields(kind):
        value = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        absent = "none" if field.name in _NO_CONDITIONS else "any"
        default = "required" if field.required else f"`{json.dumps(value)}`" if value is not None else absent
        lines.append(f"| `{field.encode_name}` | {default} | {description(kind, field.name)} |")
    return "\n".join(lines) + "\n"


def description(kind: Any, name: str) -> str:
    """The description of one field."""
    info = msgspec.inspect.type_info(kind)
    assert isinstance(info, msgspec.inspect.StructType)
    (field,) = [field for field in info.fields if field.name == name]
    found = _descriptions(msgspec.structs.fields(kind)[[f.name for f in info.fields].index(name)].type)
    if not found:
        raise ValueError(f"{kind.__module__}.{kind.__qualname__}.{field.name} has no description")
    return found[0].replace("|", "\\|").replace("\n", " ")


def _descriptions(annotation: Any) -> list[str]:
    found = [meta.description for meta in getattr(annotation, "__metadata__", ()) if getattr(meta, "description", None)]
    for inner in getattr(annotation, "__args__", ()):
        found += _descriptions(inner)
    return found


def written(text: str) -> str:
    """The page's text with new tables."""
    kinds = settings_types()
    return _BLOCK.sub(lambda block: block[1] + table(kinds[block["name"]]) + block[3], text)


if __name__ == "__main__":
    CONFIGURATION.write_text(written(CONFIGURATION.read_text()))
    sys.exit(0)
