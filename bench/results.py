"""Keeps samples in a file, one a line, so that an interrupted run can go on."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Cell(msgspec.Struct, frozen=True):
    """One cell of one table in one round."""

    table: str
    row: str
    column: str
    round: int


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one cell; a failed cell has its reason in `error`, and zeros.

    Attributes:
        seconds: for the whole study.
        delete_ms: the DELETE of the study; 0 where it was not deleted.
        cpu_seconds: of Orthanc, while the study was sent.
        peak_mb: VmHWM of Orthanc.
        stages: share of each stage by protocol, where the bundle's timing was on.
    """

    cell: Cell
    instances: int = 0
    megabytes: float = 0.0
    seconds: float = 0.0
    delete_ms: float = 0.0
    disk_mb: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0
    stages: dict[str, dict[str, float]] = {}
    error: str = ""


class Run(msgspec.Struct, frozen=True):
    """What all samples of one file have in common. A run with other values does not continue the file."""

    machine: str
    orthanc: str
    study: str


class Results:
    """A file of samples, one a line; its first line is the run.

    Args:
        path: made anew where it is missing, of another run, or `fresh`.
        run: what is measured now.
        fresh: begin anew.
    """

    def __init__(self, path: Path, run: Run, *, fresh: bool) -> None:
        self._path = path
        self.run = run
        self.samples: list[Sample] = []
        if fresh or not self._read():
            self.samples = []
            path.write_bytes(msgspec.json.encode(run) + b"\n")

    def _read(self) -> bool:
        try:
            first, *lines = self._path.read_bytes().splitlines()
            if msgspec.json.decode(first, type=Run) != self.run:
                return False
            self.samples = [msgspec.json.decode(line, type=Sample) for line in lines]
        except (OSError, ValueError, msgspec.DecodeError):
            return False
        return True

    def add(self, sample: Sample) -> None:
        """Appends one sample to the file."""
        self.samples.append(sample)
        with self._path.open("ab") as file:
            file.write(msgspec.json.encode(sample) + b"\n")

    @property
    def done(self) -> set[Cell]:
        """The cells that have a sample which did not fail."""
        return {sample.cell for sample in self.samples if not sample.error}

    def of(self, table: str, row: str, column: str) -> list[Sample]:
        """The samples of a cell over all rounds, without failed ones."""
        return [
            sample
            for sample in self.samples
            if (sample.cell.table, sample.cell.row, sample.cell.column) == (table, row, column) and not sample.error
        ]

    @property
    def failures(self) -> list[Sample]:
        """The last error of each cell that has no good sample."""
        last = {sample.cell: sample for sample in self.samples if sample.error}
        return [sample for cell, sample in last.items() if cell not in self.done]


def spread(values: Iterable[float]) -> tuple[float, float]:
    """Median, and half of the range between the smallest and the largest."""
    known = sorted(values)
    return statistics.median(known), (known[-1] - known[0]) / 2
