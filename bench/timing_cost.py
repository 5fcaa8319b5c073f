"""Measures the cost of stage timing: `python -m bench timing_cost`.

Two figures: the recorder alone, in microseconds an instance, with all that an image over C-STORE tells it; and ingest
over HTTP into a real Orthanc with the section on, as a ratio to the same Orthanc with it off, in interleaved rounds.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.orthanc_process import OrthancProcess, base_configuration
from harness.phantom import make_study
from harness.senders import http_upload
from timing import Recorder, Settings

AIM_US = 20.0
STEPS = {"scan": 1_000, "decode": 0, "encode": 5_000, "verify": 3_000}
BASE: dict[str, Any] = {"DeferredDelete": {"GracePeriod": 3600}, "SyncStorageArea": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "off": {},
    "on": {"StageTiming": {}},
    "on, LogEachInstance, --verbose": {"StageTiming": {"LogEachInstance": True}},
}


def one_instance(recorder: Recorder) -> None:
    """Tells a recorder all events of one image over C-STORE, as with every section on."""
    recorder.received("cstore", 525_000, waited_ns=10, receiving_ns=10, queued_ns=10, association=1)
    recorder.transcoded("transcoded", dict(STEPS))
    for attachment_uuid in ("a", "b"):
        recorder.write_started(1000, attachment_uuid)
        recorder.write_ended(sync_ns=1)
    recorder.committed("12345678-12345678-12345678-12345678-12345678", "STORESCU")


def recorder_us(instances: int) -> float:
    """CPU time of the recorder in microseconds an instance, folds included."""
    recorder = Recorder(Settings())
    begin_ns = time.process_time_ns()
    for number in range(instances):
        one_instance(recorder)
        if number % 1500 == 1499:  # 5 s of 300 instances a second
            recorder.fold()
    return (time.process_time_ns() - begin_ns) / instances / 1e3


def ingest_rate(folder: Path, paths: list[Path], sections: dict[str, Any], rounds: int) -> float:
    """Instances a second over HTTP with one client into a fresh Orthanc: the median of `rounds` uploads."""
    arguments = ("--verbose",) if "LogEachInstance" in str(sections) else ()
    configuration = base_configuration(folder, bundle=True) | BASE | sections
    rates = []
    with OrthancProcess(folder, configuration, arguments=arguments, graceful=False) as server:
        for number in range(rounds + 1):  # the first upload is slower, and not counted
            begin = time.perf_counter()
            http_upload(server, paths)
            if number:
                rates.append(len(paths) / (time.perf_counter() - begin))
            for study in server.json("GET", "/studies"):
                server.json("DELETE", f"/studies/{study}")
    return statistics.median(rates)


def main() -> int:
    """Measures both and prints them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=20_000, help="for the recorder alone")
    parser.add_argument("--slices", type=int, default=200, help="small ones (128 x 128), where a fixed cost shows most")
    parser.add_argument("--rounds", type=int, default=3, help="fresh servers for each variant; three uploads each")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 100)
    alone = min(recorder_us(options.instances) for _ in range(3))
    console.print(f"The recorder alone: {alone:.1f} us an instance (aim: {AIM_US:g} us), folding included")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        paths = make_study(folder / "study", slices=options.slices, side=128)
        rates: dict[str, list[float]] = {name: [] for name in VARIANTS}
        for number in range(options.rounds):
            # The first one of a round is slower: each is first in turn.
            names = list(VARIANTS)[number % len(VARIANTS) :] + list(VARIANTS)[: number % len(VARIANTS)]
            for name, sections in ((name, VARIANTS[name]) for name in names):
                rates[name].append(ingest_rate(folder / f"{name} {number}", paths, sections, 3))
    table = Table("StageTiming", "instances/s", "ratio to off", "us an instance more")
    off = statistics.median(rates["off"])
    for name, found in rates.items():
        rate = statistics.median(found)
        table.add_row(name, f"{rate:.0f}", f"{rate / off:.3f}", f"{(1 / rate - 1 / off) * 1e6:+.0f}")
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
