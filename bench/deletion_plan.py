"""How much the deletion benchmark measures, and what it reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness import phantom

from . import deletion_remove


@dataclass(frozen=True)
class Plan:
    """How many instances, rounds and depths to measure."""

    slices: int = phantom.SLICES
    large: int = 5000
    depths: Sequence[int] = (1_000, 100_000, 1_000_000, 10_000_000)
    sample: int = 50_000
    clients: Sequence[int] = (1, 4, 16)
    syncs: Sequence[bool] = (True, False)
    rounds: int = 5
    backlog: int = 60_000
    tops: int = 256
    slow: bool = True
    removals: int = 50_000
    quiet_s: float = deletion_remove.QUIET_S


QUICK = Plan(20, 60, (1_000, 20_000), 5_000, (4,), (True,), 2, 3_000, 2, removals=3_000, quiet_s=1.0)


@dataclass
class Report:
    """The samples and tables of all steps."""

    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    tables: list[str] = field(default_factory=list)

    def add(self, step: str, samples: Sequence[Any], *lines: str) -> None:
        """Adds the samples and the table of one step."""
        self.samples[step] = [asdict(sample) for sample in samples]
        self.tables.append("\n".join(lines) + "\n")
