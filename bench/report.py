"""Writes Markdown tables like those of Orthanc's published ingest benchmark, with ratios to native Orthanc."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping

from .results import Results, Sample, spread
from .tables import Table


def markdown(results: Results, tables: Mapping[str, Table]) -> str:
    """Everything that was measured, as Markdown."""
    parts = [f"{results.run.study}. {results.run.machine}. Orthanc {results.run.orthanc}.\n"]
    for name, table in tables.items():
        if any(sample.cell.table == name for sample in results.samples):
            parts += [f"### {table.title}\n", seconds_table(results, name, table), cost_table(results, name, table)]
    parts += [f"failed: {one.cell.table}, {one.cell.row}, {one.cell.column}: {one.error}\n" for one in results.failures]
    return "\n".join(parts)


def seconds_table(results: Results, name: str, table: Table) -> str:
    """Seconds for the study, instances per second, and the ratio to the baseline row."""
    lines = [
        "| seconds for the study (instances/s, ratio to native) | " + " | ".join(table.columns) + " |",
        "|---|" + "--:|" * len(table.columns),
    ]
    for row in table.rows:
        cells = [one_cell(results, name, table, row, column) for column in table.columns]
        if any(cells):
            lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def one_cell(results: Results, name: str, table: Table, row: str, column: str) -> str:
    """Median ± half the range (instances/s, ratio)."""
    samples = results.of(name, row, column)
    if not samples:
        failed = any((one.cell.table, one.cell.row, one.cell.column) == (name, row, column) for one in results.failures)
        return "failed" if failed else ""
    seconds, half_range = spread(sample.seconds for sample in samples)
    per_second = samples[0].instances / seconds
    native = results.of(name, table.baseline, column)
    ratio = f", {spread(sample.seconds for sample in native)[0] / seconds:.2f}" if native else ""
    around = f" ± {half_range:.1f}" if len(samples) > 1 else ""
    return f"{seconds:.1f}{around} ({per_second:.0f}{ratio})"


def cost_table(results: Results, name: str, table: Table) -> str:
    """DELETE, disk, CPU, memory and stages: medians over all columns of a row."""
    lines = [
        "| | DELETE of the study, ms | MB/s, best column | on disk, MB | CPU s per study | peak memory, MB "
        "| stages of ingest |",
        "|---|--:|--:|--:|--:|--:|---|",
    ]
    for row in table.rows:
        samples = [sample for column in table.columns for sample in results.of(name, row, column)]
        if samples:
            lines.append(
                f"| {row} | {median(samples, lambda s: s.delete_ms, '.0f')} "
                f"| {max(s.megabytes / s.seconds for s in samples):.0f} "
                f"| {median(samples, lambda s: s.disk_mb, '.0f')} | {median(samples, lambda s: s.cpu_seconds, '.1f')} "
                f"| {median(samples, lambda s: s.peak_mb, '.0f')} | {stages(samples)} |"
            )
    return "\n".join(lines) + "\n"


def median(samples: list[Sample], value: Callable[[Sample], float], form: str) -> str:
    """The median of the values above 0, or empty."""
    known = [value(sample) for sample in samples if value(sample) > 0]
    return format(statistics.median(known), form) if known else ""


def shares(samples: list[Sample]) -> dict[str, float]:
    """Mean share of each stage over samples and protocols."""
    seen = [protocol for sample in samples for protocol in sample.stages.values()]
    names = dict.fromkeys(name for one in seen for name in one)
    return {name: sum(one.get(name, 0.0) for one in seen) / len(seen) for name in names}


def stages(samples: list[Sample]) -> str:
    """The shares as text, the largest first."""
    ranked = sorted(shares(samples).items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {share * 100:.0f} %" for name, share in ranked if share >= 0.01)
