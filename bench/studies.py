"""Measures how long an instance takes to be stored while a large study is deleted.

python -m bench studies [INSTANCES]
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from harness.orthanc_process import OrthancProcess, base_configuration
from harness.phantom import make_study
from harness.senders import http_upload

ARRIVING = 300


def latencies_ms(server: OrthancProcess, paths: list[Path], going_on: Callable[[], bool]) -> list[float]:
    """Stores one instance after another while `going_on` returns True; the time of each in ms."""
    times = []
    for path in paths:
        content = path.read_bytes()
        started = time.perf_counter()
        server.request("POST", "/instances", content)
        times.append((time.perf_counter() - started) * 1000)
        if not going_on():
            break
    return times


def show(name: str, times: list[float], took_s: float) -> None:
    """Prints one line of the table."""
    ordered = sorted(times)
    p99 = ordered[int(len(ordered) * 0.99)] if len(ordered) > 1 else ordered[0]
    print(
        f"{name:<24} {len(times):>6} stored   p50 {statistics.median(times):7.1f} ms   p99 {p99:7.1f} ms   "
        f"max {ordered[-1]:7.1f} ms   deletion {took_s:6.1f} s"
    )


def main() -> int:
    """Measures without deletion, during background deletion, and during Orthanc's own DELETE."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    with tempfile.TemporaryDirectory(prefix="bench studies ") as folder:
        root = Path(folder)
        study = make_study(root / "study", slices=count, side=64, seed=1)
        configuration = base_configuration(root / "server", bundle=True) | {"DeferredDelete": {"GracePeriod": 3600}}
        with OrthancProcess(root / "server", configuration, graceful=False) as server:
            for number, name in enumerate(("undisturbed", "in the background", "Orthanc's own DELETE")):
                arriving = make_study(root / f"arriving {number}", slices=ARRIVING, side=64, seed=10 + number)
                uploaded = http_upload(server, study)
                identifier = str(server.json("GET", f"/instances/{uploaded[0]}/study")["ID"])
                begun = time.perf_counter()
                if name == "undisturbed":
                    show(name, latencies_ms(server, arriving, lambda: True), 0.0)
                elif name == "in the background":
                    server.json("POST", "/deferred-delete/studies", [identifier])
                    times = latencies_ms(server, arriving, lambda: True)
                    while server.json("GET", "/deferred-delete/studies")[0]["state"] != "done":
                        time.sleep(0.1)
                    show(name, times, time.perf_counter() - begun)
                else:
                    deletion = threading.Thread(target=server.json, args=("DELETE", f"/studies/{identifier}"))
                    deletion.start()
                    times = latencies_ms(server, arriving, lambda thread=deletion: thread.is_alive())  # type: ignore[misc]
                    deletion.join()
                    show(name, times, time.perf_counter() - begun)
    return 0


if __name__ == "__main__":
    sys.exit(main())
