"""The stage table for a terminal, from the snapshot's JSON."""

from collections.abc import Mapping
from typing import Any

import msgspec
from rich.console import Group
from rich.table import Table
from rich.text import Text

from .snapshot import ProtocolSnapshot, Snapshot, StageSnapshot
from .stages import TOTAL

_TITLES = {"http": "HTTP", "cstore": "C-STORE", "job": "Jobs", "other": "Other origins", "unknown": "Arrival not seen"}


def stage_tables(snapshot: Snapshot | Mapping[str, Any]) -> Group:
    """Return one table per protocol, at most 80 columns wide.

    Args:
        snapshot: a snapshot, or what its JSON decodes to.

    Raises:
        msgspec.ValidationError: the mapping is not a snapshot; the message names the field.
    """
    if not isinstance(snapshot, Snapshot):
        snapshot = msgspec.convert(snapshot, Snapshot)
    if not snapshot.protocols:
        return Group(Text("No instance was stored yet."))
    return Group(*(protocol_table(protocol) for protocol in snapshot.protocols))


def protocol_table(protocol: ProtocolSnapshot) -> Table:
    """Return the stages of one protocol as a table; its caption tells what did not go well."""
    table = Table(title=_title(protocol), caption=_caption(protocol), title_justify="left", caption_justify="left")
    table.add_column("stage")
    for heading in ("count", "p50 ms", "p90 ms", "p99 ms", "max ms", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for stage in protocol.stages:
        table.add_row(*_row(stage), style="bold" if stage.stage == TOTAL else None)
        for step in stage.steps:
            name, *cells = _row(step)
            table.add_row(f"  {name}", *cells, style="dim")
    return table


def milliseconds(value: float) -> str:
    """Return a duration in milliseconds with as many digits as are worth reading."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _row(stage: StageSnapshot) -> list[str]:
    durations = (stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms)
    return [stage.stage, f"{stage.count:,}", *map(milliseconds, durations), f"{stage.share:.1%}"]


def _title(protocol: ProtocolSnapshot) -> str:
    name = _TITLES.get(protocol.protocol, protocol.protocol)
    return f"{name}: {protocol.instances:,} instances, {protocol.bytes / 1e6:,.1f} MB received"


def _caption(protocol: ProtocolSnapshot) -> str | None:
    notes = [
        f"{count:,} {what}"
        for count, what in (
            (protocol.duplicates, "there already"),
            (protocol.unfinished, "received and never stored"),
            (protocol.failed_writes, "failed writes"),
        )
        if count
    ]
    return ", ".join(notes) or None
