"""GET /bundle/openapi.json: every route that is registered, in a document that OpenAPI's own schema accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from plugin import openapi, rest
from plugin.bundle import Bundle
from plugin.check.rehearsal import RecordingSdk
from plugin.config import parse
from tests.conftest import ALL_SECTIONS

RECOMPRESS = {"IngestTranscoder": {"Default": "JPEGLSLossless", "Recompress": True}}


@pytest.fixture
def routes_of(tmp_path: Path) -> Callable[..., list[rest.Route]]:
    """The routes of a bundle with these sections, as it registers them."""

    def routes(sections: dict[str, Any]) -> list[rest.Route]:
        bundle = Bundle(RecordingSdk(), parse(json.dumps({"StorageDirectory": str(tmp_path), **sections}), tmp_path))
        try:
            return bundle.routes()
        finally:
            bundle.stopped()

    return routes


def operations(document: dict[str, Any]) -> set[tuple[str, str]]:
    return {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}


def test_every_route_is_in_a_valid_document(routes_of: Callable[..., list[rest.Route]]) -> None:
    routes = routes_of(ALL_SECTIONS | RECOMPRESS)
    document = json.loads(rest.json_answer(openapi.document(routes)).body)
    OpenAPIV31SpecValidator(document).validate()
    assert operations(document) == {(route.method, route.path) for route in routes}
    assert len(routes) > 30
    assert {path for path in document["paths"] if not re.fullmatch(r"[/\w.-]+", path)} == set(), "no plain path"


def test_a_section_that_is_off_has_no_route_in_it(routes_of: Callable[..., list[rest.Route]]) -> None:
    document = openapi.document(routes_of({"IngestGuard": {}}))
    OpenAPIV31SpecValidator(document).validate()
    assert "/guard/status" in document["paths"]
    assert {path for path in document["paths"] if not path.startswith("/bundle")} == {"/guard/status"}


def test_every_route_says_what_it_answers_with(routes_of: Callable[..., list[rest.Route]]) -> None:
    for route in routes_of(ALL_SECTIONS | RECOMPRESS):
        assert (route.answer is None) == (route.media_type != rest.JSON), route.path


class Told(msgspec.Struct):
    """What a route of this test takes."""

    name: str


class Seen(msgspec.Struct):
    """What it answers with, sometimes."""

    count: int


def test_body_parameters_and_either_of_two_answers_are_described() -> None:
    route = rest.Route(
        "POST",
        "/x",
        "try",
        lambda _: rest.json_answer(Seen(1)),
        Seen | Told,
        list[Told],
        (rest.Parameter("query", "limit", {"type": "integer"}),),
    )
    document = openapi.document([route])
    OpenAPIV31SpecValidator(document).validate()
    operation = document["paths"]["/x"]["post"]
    told, seen = ({"$ref": f"#/components/schemas/{name}"} for name in ("Told", "Seen"))
    assert operation["responses"]["200"]["content"] == {rest.JSON: {"schema": {"anyOf": [seen, told]}}}
    assert operation["requestBody"]["content"] == {rest.JSON: {"schema": {"type": "array", "items": told}}}
    assert operation["parameters"] == [{"in": "query", "name": "limit", "schema": {"type": "integer"}}]
