"""GET /bundle/openapi.json: the routes of the sections that are on, as an OpenAPI 3.1 document.

Orthanc's own document (`Orthanc --openapi=FILE`) is made before any plugin is loaded, and the SDK cannot add to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Any, get_args

import msgspec

from . import __version__
from .rest import JSON, Failure, Route

DICOM = "application/dicom"
_REFERENCE = "#/components/schemas/{name}"


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """The document; the schemas are those of the types that the routes answer with and take."""
    routes = list(routes)
    kinds = list(
        dict.fromkeys(kind for route in routes for kind in (*_each(route.answer), *_each(route.body), Failure))
    )
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REFERENCE)
    by_kind = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, by_kind)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ingest and deletion bundle for Orthanc",
            "version": __version__,
            "description": "The routes of the sections that are on. Orthanc's own authentication holds for all.",
            "license": {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"},
        },
        # Relative to this document, so that it is right behind a reverse proxy too.
        "servers": [{"url": ".."}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(route: Route, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "responses": {
            "200": {"description": route.summary, "content": _content(route.answer, route.media_type, schemas)},
            "default": {
                "description": "refused or failed, and why: JSON, which newer versions of Orthanc call text/plain",
                "content": _content(Failure, JSON, schemas) | _content(Failure, "text/plain", schemas),
            },
        },
    }
    if route.parameters:
        operation["parameters"] = [
            {"in": parameter.place, "name": parameter.name, "schema": parameter.schema}
            for parameter in route.parameters
        ]
    if route.body is not None:
        media_type = DICOM if route.body is bytes else JSON
        operation["requestBody"] = {"required": True, "content": _content(route.body, media_type, schemas)}
    return operation


def _content(kind: Any, media_type: str, schemas: Mapping[Any, Any]) -> dict[str, Any]:
    if kind is None or kind is bytes:
        return {media_type: {}}
    found = [schemas[each] for each in _each(kind)]
    return {media_type: {"schema": found[0] if len(found) == 1 else {"anyOf": found}}}


def _each(kind: Any) -> tuple[Any, ...]:
    """The types of a union one by one: msgspec has no schema for a union of structures."""
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)
