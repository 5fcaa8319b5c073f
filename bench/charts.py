"""Draws the ingest benchmark as SVG and PNG: throughput by parallelism, stage shares, latency of DELETE."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .report import shares
from .results import Results, spread
from .tables import Table

# Servers without the bundle, dashed.
_GREYS = ("black", "0.35", "0.5", "0.6", "0.7", "0.8")

mpl.rcParams.update({"svg.hashsalt": "bench", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})


def draw(results: Results, tables: Mapping[str, Table], folder: Path) -> list[Path]:
    """Draws one picture for each table that was measured.

    Returns:
        The files written.
    """
    written = []
    for name, table in tables.items():
        if not any(results.of(name, row, column) for row in table.rows for column in table.columns):
            continue
        figure = Figure(figsize=(14, 4.2), layout="constrained")
        axes = figure.subplots(1, 3, width_ratios=[4, 2, 2])
        figure.suptitle(f"{table.title}: {results.run.study}", fontsize=10)
        throughput(axes[0], results, name, table)
        stage_shares(axes[1], results, name, table)
        delete_latency(axes[2], results, name, table)
        for kind in ("svg", "png"):
            path = folder / f"ingest-{name.replace(' ', '-')}.{kind}"
            figure.savefig(path, dpi=110, metadata={"Date": None} if kind == "svg" else None)
            written.append(path)
    return written


def throughput(axes: Axes, results: Results, name: str, table: Table) -> None:
    """Instances per second by column, a line for each row."""
    labels = list(table.columns)
    colours = iter(mpl.color_sequences["tab10"])
    greys = iter(_GREYS)
    for row in table.rows:
        native = row.startswith("native")
        colour, style = (next(greys), "--") if native else (next(colours), "-")
        points = [(at, results.of(name, row, column)) for at, column in enumerate(labels)]
        known = [
            (at, samples[0].instances / spread(s.seconds for s in samples)[0]) for at, samples in points if samples
        ]
        if known:
            places, rates = zip(*known, strict=True)
            axes.plot(places, rates, style, color=colour, marker="o", markersize=3, label=row)
    axes.set_xticks(range(len(labels)), labels, rotation=20, ha="right")
    axes.set_ylabel("instances/s")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=7, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))


def stage_shares(axes: Axes, results: Results, name: str, table: Table) -> None:
    """A stacked bar for each row that has stages."""
    rows = {row: shares([s for column in table.columns for s in results.of(name, row, column)]) for row in table.rows}
    rows = {row: parts for row, parts in rows.items() if parts}
    axes.set_title("where the time of an instance goes", fontsize=9)
    left = dict.fromkeys(rows, 0.0)
    for stage in dict.fromkeys(stage for parts in rows.values() for stage in parts):
        widths = [parts.get(stage, 0.0) * 100 for parts in rows.values()]
        axes.barh(list(rows), widths, left=list(left.values()), label=stage, height=0.6)
        left = {row: left[row] + width for row, width in zip(rows, widths, strict=True)}
    axes.set_xlabel("%")
    axes.tick_params(axis="y", labelsize=7)
    if rows:
        axes.legend(fontsize=6, frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.18))


def delete_latency(axes: Axes, results: Results, name: str, table: Table) -> None:
    """A bar for each row."""
    times = {}
    for row in table.rows:
        known = [s.delete_ms for column in table.columns for s in results.of(name, row, column) if s.delete_ms > 0]
        if known:
            times[row] = spread(known)[0]
    axes.set_title("DELETE of the study", fontsize=9)
    axes.barh(list(times), list(times.values()), height=0.6, color="#888888")
    axes.set_xlabel("ms")
    axes.tick_params(axis="y", labelsize=7)
