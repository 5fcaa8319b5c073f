"""Writes the report of `bench transcoding`: samples as JSON, tables as Markdown."""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

from .machine import machine

NATIVE = "native .70, DCMTK"
NATIVE_GDCM = "native .70, GDCM"
UNTOUCHED = "native, no transcoding"


@dataclass(frozen=True)
class Sample:
    """The result of one cell in one round."""

    study: str
    variant: str
    sender: str
    clients: int
    per_second: float
    ratio: float  # received bytes to bytes on disk, headers that Orthanc stores twice included
    cpu_ms_per_instance: float  # of the whole server, while sending
    peak_mb: float


def table(samples: list[Sample], study: str) -> str:
    """The Markdown table of one study: instances/s with the ratio to native .70 by DCMTK, compression, CPU, memory."""
    own = [one for one in samples if one.study == study]
    columns = sorted({(one.sender, one.clients) for one in own})

    def median(variant: str, column: tuple[str, int] | None, field: str) -> float | None:
        values = [
            getattr(one, field) for one in own if one.variant == variant and column in {None, (one.sender, one.clients)}
        ]
        return statistics.median(values) if values else None

    heads = [f"{sender} x{clients}" for sender, clients in columns]
    lines = [
        f"| instances/s (ratio to {NATIVE}) | {' | '.join(heads)} | compression | CPU ms/instance | peak memory, MB |",
        "|---" + "|--:" * (len(columns) + 3) + "|",
    ]
    for variant in dict.fromkeys(one.variant for one in own):
        cells = []
        for column in columns:
            rate, native = median(variant, column, "per_second"), median(NATIVE, column, "per_second")
            cells.append("failed" if rate is None else f"{rate:.0f}" + (f" ({rate / native:.2f})" if native else ""))
        ratio, cpu, peak = (median(variant, None, field) for field in ("ratio", "cpu_ms_per_instance", "peak_mb"))
        cells.append(f"{ratio:.2f} | {cpu:.1f} | {peak:.0f}")
        lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def write_report(
    samples: list[Sample],
    failures: list[str],
    sent: dict[str, tuple[str, list[Path]]],
    arguments: argparse.Namespace,
) -> str:
    """Writes samples and report, and returns the report.

    Called after each cell, so that an interrupted run leaves a report too.
    """
    parts = [f"{machine()}; medians of {arguments.rounds} rounds\n"]
    for study, (text, paths) in sent.items():
        if not any(one.study == study for one in samples):
            continue
        size_mb = sum(path.stat().st_size for path in paths) / 1e6
        parts.append(f"{text}, {size_mb:.0f} MB:\n\n{table(samples, study)}")
    report = "\n".join(parts) + "".join(f"\nfailed: {line}" for line in failures)
    (arguments.folder / "transcoding.json").write_text(json.dumps([asdict(one) for one in samples], indent=1))
    (arguments.folder / "transcoding.md").write_text(report)
    return report
