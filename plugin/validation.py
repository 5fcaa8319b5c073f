"""Turns JSON into typed settings, or into one line that names the key, the value and what is expected."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any

import msgspec

_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `(?P<key>.*?)`(?: - at `\$(?P<path>.*?)`)?$", re.DOTALL)
_BAD_VALUE = re.compile(r"^(?P<expected>.*?)(?: - at `\$(?P<path>.*?)`)?$", re.DOTALL)
_PATH_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]")


class ConfigurationError(Exception):
    """A key or a value that the bundle does not take; the message is one line: key, value, what is expected."""


def convert(section: str, value: Any, kind: type[Any]) -> Any:
    """`value` as `kind`; `section` is its name for the error, or empty for the whole document.

    Raises:
        ConfigurationError: an unknown key, a wrong type or a bad value.
    """
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_explain(section, value, kind, str(error))) from None


def _explain(section: str, value: Any, kind: type[Any], message: str) -> str:
    """Turns msgspec's message into key, value, what is expected, and the nearest known key."""
    unknown = _UNKNOWN_FIELD.match(message)
    if unknown:
        key = unknown["key"]
        known = sorted(known_keys(kind))
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        return f"{section}{unknown['path'] or ''}.{key}: unknown key: {hint}"
    bad = _BAD_VALUE.match(message)
    assert bad is not None
    path = bad["path"] or ""
    expected = bad["expected"].replace("`", "")
    shown = json.dumps(_at(value, path), ensure_ascii=False)
    return f"{(section + path).lstrip('.')}: {shown[:80]}: {expected[:1].lower()}{expected[1:]}"


def _at(value: Any, path: str) -> Any:
    """The value at msgspec's path (`.Rules[2].Action`), or the last one that is there."""
    for step in _PATH_STEP.finditer(path):
        try:
            value = value[step["key"]] if step["key"] else value[int(step["index"])]
        except (KeyError, IndexError, TypeError):
            break
    return value


def known_keys(kind: type[Any]) -> set[str]:
    """Every key that a section or a structure inside it takes, as written in orthanc.json."""
    keys: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, msgspec.inspect.StructType):
            for field in node.fields:
                keys.add(field.encode_name)
                visit(field.type)
        for name in ("item_type", "type"):
            if hasattr(node, name):
                visit(getattr(node, name))
        for name in ("types", "item_types"):
            for inner in getattr(node, name, ()):
                visit(inner)

    visit(msgspec.inspect.type_info(kind))
    return keys
