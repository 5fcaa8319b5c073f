"""Measures how long `remove` keeps Orthanc waiting: Orthanc holds the lock of its index meanwhile.

`python -m bench.deletion_remove DISK CELL FOLDER REMOVALS QUIET_S` measures one cell and prints a JSON object.

Removals come as those of a DELETE do, 750 in a row and then a pause, called from C, so that Python's lock is given away
after each. Half of the bursts measure the plugin's whole callback, with a timing recorder. The others measure the
storage area alone.
"""

from __future__ import annotations

import ctypes
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

from deferred_delete import LEDGER_NAME, DeferredDelete, Settings
from harness.orthanc_process import BUNDLE
from plugin.storage_callbacks import StorageCallbacks
from timing import Recorder

from .deletion_drain import fill_ledger, uuids

BURST = 750
# Longer than the kernel leaves a changed page unwritten (vm.dirty_expire_centisecs, 30 s by default) and then writes it
# (dirty_writeback_centisecs, 5 s). A page that was written is slow to change the next time.
QUIET_S = 40.0
THIS_DISK, TMPFS, SLOW_DISK = "this disk", "tmpfs", "slow disk"
QUIET, LONG_QUIET, LOCKED, DRAIN = "nothing else", "after a long quiet", "ledger locked", "during a drain"
CELLS = {THIS_DISK: (QUIET, LONG_QUIET, LOCKED, DRAIN), TMPFS: (DRAIN,), SLOW_DISK: (QUIET, LONG_QUIET)}
MEDIAN_AIM_US, P999_AIM_US = 5, 100
_PAUSE_S = 0.1
# Files for a drain to unlink while it is measured: more than it can.
_BACKLOG_PER_REMOVAL = 3
_DRAIN_PAUSE_S = 0.02

Remove = Callable[[str, int], None]


@dataclass(frozen=True)
class RemoveSample:
    """The result for one cell, in us: median, 99.9th percentile and maximum.

    Attributes:
        callback: The plugin's callback.
        area: DeferredStorageArea.remove alone.
        called_from_c: From one callback's end to the next one's, with the wait for Python's lock.
        unlinked: Files that the worker deleted meanwhile.
    """

    disk: str
    cell: str
    removals: int
    callback: tuple[float, float, float]
    area: tuple[float, float, float]
    called_from_c: tuple[float, float, float]
    unlinked: int


def measure_on(
    disk: str, folder: Path, removals: int, quiet_s: float, progress: Callable[[str], None]
) -> list[RemoveSample]:
    """Measures the cells of one disk, each in a fresh process; ledger, journal and files are in ``folder``."""
    samples = []
    for number, cell in enumerate(CELLS[disk]):
        progress(f"remove, {disk}, {cell}")
        command = [sys.executable, "-m", "bench.deletion_remove", disk, cell]
        command += [str(folder / f"remove-{number}"), str(removals), str(quiet_s)]
        done = subprocess.run(command, cwd=BUNDLE, capture_output=True, text=True, check=True)
        samples.append(RemoveSample(**json.loads(done.stdout.splitlines()[-1])))
    return samples


def rows(samples: Sequence[RemoveSample]) -> Iterator[str]:
    """The lines of the table."""
    yield (
        f"| `remove`, us | | median, aim {MEDIAN_AIM_US} | p99.9, aim {P999_AIM_US} | most "
        "| storage area alone: median | p99.9 | called from C: median | p99.9 | unlinked meanwhile |"
    )
    yield "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|"
    for s in samples:
        yield (
            f"| {s.disk} | {s.cell} | {s.callback[0]:.1f} | {s.callback[1]:.0f} | {s.callback[2]:,.0f} "
            f"| {s.area[0]:.1f} | {s.area[1]:.0f} | {s.called_from_c[0]:.1f} | {s.called_from_c[1]:.0f} "
            f"| {s.unlinked or ''} |"
        )


class _Bursts:
    """Calls a function of Python's from C, as Orthanc does, and notes how long each call takes."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        self._lfind = ctypes.CDLL(None).lfind  # calls a function for each element of a table, until it returns 0
        self._compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def measure(self, remove: Remove, first: int, took_ns: list[int], between_ns: list[int]) -> None:
        """Calls it for one burst of names."""
        clock, names, count = time.perf_counter_ns, self._names, ctypes.c_size_t(BURST)
        ended = 0

        def call(_key: int, element: int) -> int:
            nonlocal ended
            name = names[first + element - table]
            began = clock()
            remove(name, 1)
            now = clock()
            took_ns.append(now - began)
            if ended:
                between_ns.append(now - ended)
            ended = clock()
            return 1

        key, elements = ctypes.create_string_buffer(1), ctypes.create_string_buffer(BURST)
        table = ctypes.addressof(elements)
        self._lfind(key, elements, ctypes.byref(count), ctypes.c_size_t(1), self._compare(call))


def _summary(took_ns: list[int]) -> tuple[float, float, float]:
    rank = sorted(took_ns)
    return statistics.median(rank) / 1000, rank[int(len(rank) * 0.999)] / 1000, rank[-1] / 1000


@contextmanager
def _locked(ledger: Path) -> Iterator[None]:
    """Has another process hold the ledger's lock."""
    code = "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('BEGIN EXCLUSIVE'); print(); input()"
    command = [sys.executable, "-c", code, str(ledger)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        other.stdout.readline()
        yield
        other.communicate("\n")


def _measure(disk: str, cell: str, folder: Path, removals: int, quiet_s: float) -> RemoveSample:
    backlog = uuids(removals * _BACKLOG_PER_REMOVAL, 1) if cell == DRAIN else []
    DeferredDelete(folder, Settings(), sync=False).close()
    if backlog:
        fill_ledger(folder / LEDGER_NAME, len(backlog), backlog)
    service = DeferredDelete(folder, Settings(), sync=False)
    for attachment in backlog:
        service.storage.create(attachment, b"x" * 512)
    service.worker.start()
    time.sleep({LONG_QUIET: quiet_s, DRAIN: 0.05}.get(cell, 1.0))
    with _locked(folder / LEDGER_NAME) if cell == LOCKED else nullcontext():
        sample = _bursts(disk, cell, service, removals)
    service.worker.stop(10)
    return sample


def _bursts(disk: str, cell: str, service: DeferredDelete, removals: int) -> RemoveSample:
    callback, area = StorageCallbacks(service.area, Recorder()).remove, service.area.remove
    names = uuids(2 * -(-removals // BURST) * BURST, 2)
    bursts = _Bursts(names)
    took_ns: dict[Remove, list[int]] = {callback: [], area: []}
    between_ns: dict[Remove, list[int]] = {callback: [], area: []}
    deleted = service.worker.counters.deleted
    for number, first in enumerate(range(0, len(names), BURST)):
        remove = (callback, area)[number % 2]
        bursts.measure(remove, first, took_ns[remove], between_ns[remove])
        time.sleep(_DRAIN_PAUSE_S if cell == DRAIN else _PAUSE_S)
    due_ms = service.ledger.next_due()
    if cell == DRAIN and (due_ms is None or due_ms > service.ledger.clock.now_ms()):
        raise RuntimeError("the drain ended before the removals: expected more files")
    return RemoveSample(
        disk,
        cell,
        len(took_ns[callback]),
        _summary(took_ns[callback]),
        _summary(took_ns[area]),
        _summary(between_ns[callback]),
        service.worker.counters.deleted - deleted,
    )


if __name__ == "__main__":
    on, what, where, how_many, how_long_s = sys.argv[1:]
    print(json.dumps(asdict(_measure(on, what, Path(where), int(how_many), float(how_long_s)))))
