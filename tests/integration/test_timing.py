"""Stages of real instances over both protocols."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.orthanc_process import OrthancProcess
from harness.senders import http_upload, storescu
from tests.conftest import ServerFactory

pytestmark = pytest.mark.orthanc


def protocols(server: OrthancProcess) -> dict[str, dict[str, Any]]:
    return {protocol["protocol"]: protocol for protocol in server.json("GET", "/timing/stages")["protocols"]}


def stages(protocol: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {stage["stage"]: stage for stage in protocol["stages"]}


def test_every_instance_is_counted_in_each_stage_of_its_protocol(
    server: OrthancProcess, small_study: list[Path]
) -> None:
    storescu(server, small_study[:25])
    http_upload(server, small_study[25:])
    seen = protocols(server)
    assert (seen["cstore"]["instances"], seen["http"]["instances"]) == (25, 15)
    for name, count in (("cstore", 25), ("http", 15)):
        for stage in ("transcode", "prepare", "write", "commit", "total"):
            assert stages(seen[name])[stage]["count"] == count, f"{name}: {stage}"
            assert stages(seen[name])[stage]["p50_ms"] <= stages(seen[name])[stage]["p99_ms"]


def test_without_the_bundle_s_storage_area_the_stages_it_would_see_are_not_invented(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    with make_server({"StageTiming": {}}) as server:
        http_upload(server, small_study[:5])
        found = {name: stage for name, stage in stages(protocols(server)["http"]).items() if stage["count"]}
        assert found["store"]["count"] == 5
        assert not {"prepare", "write", "commit"} & set(found)


def test_an_instance_that_is_there_already_is_not_counted_as_stored(
    server: OrthancProcess, small_study: list[Path]
) -> None:
    http_upload(server, small_study[:3])
    http_upload(server, small_study[:3])
    seen = protocols(server)["http"]
    assert (seen["instances"], seen["duplicates"], seen["unfinished"]) == (3, 3, 0)


def test_the_exposition_parses_and_holds_every_part_s_numbers(server: OrthancProcess, small_study: list[Path]) -> None:
    uploaded = http_upload(server, small_study[:5])
    server.json("DELETE", f"/instances/{uploaded[0]}")
    answer = server.request("GET", "/timing/metrics")
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    families = {family.name: family for family in text_string_to_metric_families(answer.data.decode())}
    for name in ("ingest_stage_seconds", "deletions_pending", "deletions", "transcoded_instances", "associations_open"):
        assert f"orthanc_bundle_{name}" in families, name
    (errors,) = [family for name, family in families.items() if name == "orthanc_bundle_source_errors"]
    assert all(sample.value == 0 for sample in errors.samples), "a source of metrics fails"


def test_reset_forgets_and_needs_a_post(server: OrthancProcess, small_study: list[Path]) -> None:
    http_upload(server, small_study[:2])
    assert server.request("GET", "/timing/reset").status == 405
    server.json("POST", "/timing/reset", {})
    assert protocols(server) == {}


def test_the_slowest_instances_tell_their_own_stages(server: OrthancProcess, small_study: list[Path]) -> None:
    http_upload(server, small_study[:4])
    slowest = server.json("GET", "/timing/slowest")
    assert len(slowest) == 4
