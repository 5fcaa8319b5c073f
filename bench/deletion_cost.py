"""Measures what the bundle costs each instance where no disk is in the way: each section alone, and all together.

Storage and index are on a RAM disk, and servers take turns as in `deletion_ingest`. Sender and server share the
machine, so the sender does as little as can be done: bodies in memory, one socket for each client, no HTTP library.
"""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.orthanc_process import OrthancError, OrthancProcess

from .deletion_ingest import empty, make_archive, servers

SECTIONS = ("DeferredDelete", "IngestGuard", "StageTiming", "DicomAssociations")
ALL = "all but transcoding"
VARIANTS: dict[str, dict[str, Any]] = {
    "native": {},
    ALL: {name: {} for name in SECTIONS},
    **{name: {name: {}} for name in SECTIONS},
}
# Header copies are written once ingest pauses: that CPU time counts too.
SETTLE_S = 0.5


@dataclass(frozen=True)
class CostSample:
    """The result of one turn: instances a second; the server's CPU time and page faults for each.

    Those of the header copies are among them.
    """

    variant: str
    clients: int
    per_second: float
    user_ms: float
    system_ms: float
    faults: float


def measure(
    folder: Path,
    study: Sequence[Path],
    *,
    clients: Sequence[int],
    rounds: int,
    tops: int,
    progress: Callable[[str], None],
) -> list[CostSample]:
    """Runs all turns, variant after variant in each round; the first turns of each server are not counted."""
    archive = folder / "archive"
    make_archive(archive, tops)
    bodies = [path.read_bytes() for path in study]
    samples = []
    with servers(folder / "cost", archive, VARIANTS, sync=False) as running:
        for number in range(-1, rounds):
            for count in clients:
                for name, server in running.items():
                    progress(f"cost, {count} clients, round {number + 1}, {name}")
                    sample = _one_turn(name, server, bodies, count)
                    if number >= 0:
                        samples.append(sample)
                    empty(server)
    return samples


def rows(samples: Sequence[CostSample], clients: Sequence[int]) -> list[str]:
    """The lines of the table: medians."""
    lines = [
        "| HTTP clients | sections | instances/s | of native | CPU ms/instance, user | system | page faults |",
        "|--:|---|--:|--:|--:|--:|--:|",
    ]
    for count in clients:
        cells = {name: [s for s in samples if (s.variant, s.clients) == (name, count)] for name in VARIANTS}
        for name, cell in cells.items():
            # Turn by turn, with native Orthanc's of the same round: other work on the machine meets both.
            ratios = [
                sample.per_second / native.per_second for sample, native in zip(cell, cells["native"], strict=True)
            ]
            speed, user, system, faults = (
                statistics.median(getattr(sample, field) for sample in cell)
                for field in ("per_second", "user_ms", "system_ms", "faults")
            )
            lines.append(
                f"| {count} | {name} | {speed:.0f} | {statistics.median(ratios):.2f} "
                f"| {user:.2f} | {system:.2f} | {faults:.0f} |"
            )
    return lines


def _one_turn(name: str, server: OrthancProcess, bodies: Sequence[bytes], clients: int) -> CostSample:
    """Stores the study once.

    Raises:
        OrthancError: an instance was refused.
    """
    before = _used(server)
    with ThreadPoolExecutor(clients) as pool:
        began = time.perf_counter()
        list(pool.map(lambda first: _upload(server.http_port, bodies[first::clients]), range(clients)))
        took_s = time.perf_counter() - began
    time.sleep(SETTLE_S)
    user_s, system_s, faults = ((after - then) / len(bodies) for after, then in zip(_used(server), before, strict=True))
    return CostSample(name, clients, len(bodies) / took_s, user_s * 1000, system_s * 1000, faults)


def _upload(port: int, bodies: Sequence[bytes]) -> None:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for body in bodies:
            head = f"POST /instances HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode())
            connection.sendall(body)
            _read_answer(connection)


def _read_answer(connection: socket.socket) -> None:
    """Reads one answer with a Content-Length.

    Raises:
        OrthancError: any answer that is not 200.
    """
    answer = b""
    while (end := answer.find(b"\r\n\r\n") + 4) < 4:
        answer += _receive(connection)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OrthancError(f"POST /instances: {answer[:200]!r}")
    length = int(answer.lower().split(b"content-length:")[1].split(b"\r")[0])
    while len(answer) < end + length:
        answer += _receive(connection)


def _receive(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise OrthancError("POST /instances: the connection was closed")
    return received


def _used(server: OrthancProcess) -> tuple[float, float, int]:
    """CPU seconds of the server so far, in user and in system mode, and its page faults."""
    assert server.process is not None
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / ticks, int(fields[12]) / ticks, int(fields[7])
