"""Stages of real instances over both protocols."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from harness.orthanc_process import BUNDLE, OrthancProcess
from harness.senders import http_upload, storescu
from tests.conftest import ALL_SECTIONS, ServerFactory

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
    assert seen["instances"] == 3
    if server.version < (1, 13):
        assert (seen["duplicates"], seen["unfinished"]) == (3, 0)
    else:  # Orthanc lets them go before it writes anything, and tells no plugin
        assert seen["duplicates"] == 0


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


def test_the_metrics_of_a_section_need_no_stage_timing(make_server: ServerFactory, small_study: list[Path]) -> None:
    """What the shipped alerts about deletions ask for, by the route that their file names."""
    with make_server({"DeferredDelete": {"GracePeriod": 3600}}) as server:
        (uploaded,) = http_upload(server, small_study[:1])
        server.json("DELETE", f"/instances/{uploaded}")
        assert server.request("GET", "/timing/metrics").status == 404
        answer = server.request("GET", "/bundle/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        samples = {
            (sample.name, sample.labels.get("state")): sample.value
            for family in text_string_to_metric_families(answer.data.decode())
            for sample in family.samples
        }
    assert samples["orthanc_bundle_deletions_pending", "pending"] == 2
    rules = yaml.safe_load((BUNDLE / "docs" / "alerts.yml").read_text())["groups"][0]["rules"]
    wanted = {name for rule in rules for name in re.findall(r"orthanc_bundle_(?:deletion|source)\w+", rule["expr"])}
    assert len(wanted) == 6
    assert wanted <= {name for name, _ in samples}


def test_both_routes_of_metrics_answer_the_same(server: OrthancProcess, small_study: list[Path]) -> None:
    http_upload(server, small_study[:2])

    def names(path: str) -> list[str]:
        return re.findall(r"^# TYPE (\S+)", server.request("GET", path).data.decode(), re.MULTILINE)

    assert names("/bundle/metrics") == names("/timing/metrics")


def test_reset_forgets_and_needs_a_post(server: OrthancProcess, small_study: list[Path]) -> None:
    http_upload(server, small_study[:2])
    assert server.request("GET", "/timing/reset").status == 405
    server.json("POST", "/timing/reset", {})
    assert protocols(server) == {}


def test_the_slowest_instances_tell_their_own_stages(server: OrthancProcess, small_study: list[Path]) -> None:
    http_upload(server, small_study[:4])
    slowest = server.json("GET", "/timing/slowest")
    assert len(slowest) == 4


def test_clients_are_told_apart_by_ae_title_and_by_address_however_odd_their_names(
    server: OrthancProcess, small_study: list[Path]
) -> None:
    callers = {'A"B{x}': 'A"B{x}', "  MR 1 ": "MR 1", "A\\B": "A\\B"}
    if server.version >= (1, 13):  # which refuses a backslash
        del callers["A\\B"]
    for number, calling in enumerate(callers):
        storescu(server, small_study[number : number + 1], calling=calling)
    http_upload(server, small_study[10:12])
    seen = protocols(server)
    assert [(client["client"], client["instances"]) for client in seen["http"]["clients"]] == [("127.0.0.1", 2)]
    clients = {client["client"] for client in seen["cstore"]["clients"]}
    assert clients == {*callers.values()}
    exposition = server.request("GET", "/timing/metrics").data.decode()
    families = {family.name: family for family in text_string_to_metric_families(exposition)}
    labels = {sample.labels["client"] for sample in families["orthanc_bundle_ingest_client_instances"].samples}
    assert labels == clients | {"127.0.0.1"}


def test_beyond_the_bound_clients_share_one_name(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server({"StageTiming": {"MaxClients": 2}}) as server:
        for number in range(4):
            storescu(server, small_study[number : number + 1], calling=f"CT{number}")
        found = {client["client"]: client["instances"] for client in protocols(server)["cstore"]["clients"]}
        assert found == {"CT0": 1, "CT1": 1, "(other)": 2}


def test_the_last_minutes_are_told_apart_from_all_and_can_be_asked_for_alone(
    server: OrthancProcess, small_study: list[Path]
) -> None:
    http_upload(server, small_study[:3])
    windows = server.json("GET", "/timing/stages")["windows"]
    assert [window["minutes"] for window in windows] == [1, 5, 60]
    alone = server.json("GET", "/timing/stages?window=5")
    (http,) = alone["protocols"]
    assert (alone["minutes"], http["instances"]) == (5, 3)
    assert http["rate_per_s"] == pytest.approx(3 / alone["seconds"])
    assert stages(http)["total"]["p50_ms"] <= stages(http)["total"]["max_ms"]
    answer = server.request("GET", "/timing/stages?window=7")
    assert (answer.status, "expected one of 1, 5, 60" in answer.data.decode()) == (400, True)


def test_orthanc_s_own_metrics_hold_the_bundle_s_numbers(make_server: ServerFactory, small_study: list[Path]) -> None:
    sections = {"DeferredDelete": {"GracePeriod": 3600}, "StageTiming": {"MetricsEvery": 0.1}}
    with make_server(sections) as server:
        instances = http_upload(server, small_study[:5])
        server.json("DELETE", f"/instances/{instances[0]}")
        wanted = {
            "orthanc_bundle_ingest_instances_total_http": 5,
            "orthanc_bundle_ingest_stage_seconds_count_http_write": 5,
            "orthanc_bundle_deletions_pending_pending": 2,
        }
        deadline = time.monotonic() + 60
        while True:
            text = server.request("GET", "/tools/metrics-prometheus").data.decode()
            found = {line.split()[0]: float(line.split()[1]) for line in text.splitlines() if line[:1] not in {"", "#"}}
            if {name: found.get(name) for name in wanted} == wanted:
                break
            assert time.monotonic() < deadline, {name: found.get(name) for name in wanted}
            time.sleep(0.05)
        assert found["orthanc_bundle_memory_resident_bytes"] > 1_000_000


def test_publishing_while_four_clients_store_blocks_nobody_and_a_stop_ends_it(
    make_server: ServerFactory, small_study: list[Path]
) -> None:
    """SetMetricsValue keeps Python's lock: were a lock of the core's behind it, this would stand still."""
    server = make_server(ALL_SECTIONS | {"StageTiming": {"MetricsEvery": 0.001, "TrimMemoryEvery": 0.001}})
    with server:
        http_upload(server, small_study, clients=4)
        assert protocols(server)["http"]["instances"] == len(small_study)
        assert server.stop() == 0


def test_memory_is_told_and_trimmed_when_idle(make_server: ServerFactory, small_study: list[Path]) -> None:
    with make_server({"StageTiming": {"TrimMemoryEvery": 0.2}, "MallocArenaMax": 3}) as server:
        http_upload(server, small_study[:5], clients=4)
        deadline = time.monotonic() + 60
        while not (memory := server.json("GET", "/timing/memory"))["trims"]:
            assert time.monotonic() < deadline, memory
            time.sleep(0.1)
        assert (memory["malloc_arena_max"], memory["environment"]) == (3, None)
        assert 1 <= memory["arenas"] <= 3
        assert memory["heap_free_bytes"] < memory["heap_bytes"] < memory["resident_bytes"] * 4
        assert abs(memory["resident_bytes"] - server.resident_bytes()) < 50_000_000


@pytest.mark.parametrize("wanted", [True, False])
def test_each_instance_has_a_line_in_the_log_where_that_is_wanted(
    make_server: ServerFactory, small_study: list[Path], wanted: bool
) -> None:
    with make_server({"StageTiming": {"LogEachInstance": wanted}}, arguments=("--verbose",)) as server:
        (orthanc_id,) = http_upload(server, small_study[:1])
        lines = [line for line in server.log_text().splitlines() if f"stored {orthanc_id} http 127.0.0.1 " in line]
        assert len(lines) == wanted
        assert all("transcode;dur=" in line and ", total;dur=" in line for line in lines)
