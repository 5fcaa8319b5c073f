"""Reads configuration files as Orthanc does (OrthancConfiguration.cpp, ReadConfiguration)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..validation import ConfigurationError

# The core's own pattern (Toolbox::SubstituteVariables): ${NAME}, ${NAME:-default}, the default in quotes or not.
_VARIABLE = re.compile(
    r"\$\{(?P<bare>[^:]*?)\}"
    r"|\$\{(?P<key>[^:]*?):-(?P<plain>[^'\"]*?)\}"
    r"|\$\{(?P<key2>[^:]*?):-\"(?P<double>[^\"]*?)\"\}"
    r"|\$\{(?P<key3>[^:]*?):-'(?P<single>[^']*?)'\}"
)
_STRING = r'"(?:\\.|[^"\\])*"'
_COMMENT = re.compile(rf"(?P<string>{_STRING})|//[^\n]*|/\*.*?\*/", re.DOTALL)
_TRAILING_COMMA = re.compile(rf"(?P<string>{_STRING})|,(?=\s*[}}\]])", re.DOTALL)


class Files(NamedTuple):
    """A configuration as Orthanc sees it.

    Attributes:
        document: all files merged.
        folder: what relative paths belong to.
        sources: which file each key of the document comes from.
        remarks: what Orthanc accepts silently and the operator should know, one line each.
    """

    document: dict[str, Any]
    folder: Path
    sources: dict[str, Path]
    remarks: list[str]


def read(path: Path, environ: Mapping[str, str] | None = None) -> Files:
    """Reads a file, or every *.json of a folder (not of those inside it).

    Args:
        path: what Orthanc's command line names.
        environ: variables that ${...} may name, anywhere in a file; default none.

    Raises:
        ConfigurationError: Orthanc would not start with it; one line.
    """
    if not path.exists():
        raise ConfigurationError(f"{path} is not there: expected Orthanc's configuration file or folder")
    document: dict[str, Any] = {}
    sources: dict[str, Path] = {}
    remarks: list[str] = []
    names = (
        sorted(one for one in path.iterdir() if one.suffix.lower() == ".json" and not one.is_dir())
        if path.is_dir()
        else [path]
    )
    for name in names:
        for key, value in _read_file(name, environ or {}, remarks).items():
            if key in document:
                raise ConfigurationError(
                    f"{key}: in {sources[key]} and in {name}: Orthanc takes each key from one file only"
                )
            document[key], sources[key] = value, name
    if not document:
        remarks.append(f"{path} holds no key at all: Orthanc would start with its defaults")
    return Files(document, (path if path.is_dir() else path.parent).absolute(), sources, remarks)


def _read_file(path: Path, environ: Mapping[str, str], remarks: list[str]) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8-sig", errors="replace")
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from None
    text = substitute(
        text, environ, lambda name: remarks.append(f"{path}: ${{{name}}} is not set here: taken as empty")
    )

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        remarks.extend(
            f"{path}: {key} is there twice in one section: Orthanc takes the last"
            for key in sorted({key for key in keys if keys.count(key) > 1})
        )
        return dict(pairs)

    try:
        document = json.loads(without_comments(text), object_pairs_hook=once, strict=False)
    except json.JSONDecodeError as error:
        raise ConfigurationError(f"{path}, line {error.lineno}, column {error.colno}: no JSON: {error.msg}") from None
    if not isinstance(document, dict):
        raise ConfigurationError(f"{path}: {json.dumps(document)[:40]}: expected an object")
    return document


def substitute(text: str, environ: Mapping[str, str], unset: Any = lambda _: None) -> str:
    """Puts in values of the environment, in comments too, as Orthanc does.

    Args:
        text: a file.
        environ: the values.
        unset: called with each name that has neither a value nor a default.
    """

    def value(match: re.Match[str]) -> str:
        name = match["bare"]
        if name is not None:
            if name not in environ:
                unset(name)
            return environ.get(name, "")
        key = match["key"] or match["key2"] or match["key3"] or ""
        default = next((match[group] for group in ("plain", "double", "single") if match[group] is not None), "")
        return environ.get(key, default)

    return _VARIABLE.sub(value, text)


def without_comments(text: str) -> str:
    """Makes strict JSON of what jsoncpp accepts: without comments and trailing commas.

    Both become blanks, so that lines and columns in error messages are right.
    """
    blank = _COMMENT.sub(lambda match: match["string"] or re.sub(r"[^\n]", " ", match[0]), text)
    return _TRAILING_COMMA.sub(lambda match: match["string"] or " ", blank)
