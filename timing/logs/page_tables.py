"""The tables of the page on a log: stages, gaps and the slowest instances, as HTML."""

from collections.abc import Iterator, Sequence
from typing import Final

from .. import stages
from ..pictures.markup import percent, safe
from ..pictures.page import legend, stacked_bar, swatch
from ..snapshot import StageSnapshot
from ..table import milliseconds
from .finding import NAMES
from .findings_network import STALL_HIGH_US, STALL_LOW_US
from .report import LoggedProtocol, SlowLogged
from .text import BESIDE

MEANINGS: Final = {
    stages.RECEIVE: "request seen, to transcoding or writing",
    stages.TRANSCODE: "Orthanc transcodes it",
    stages.PREPARE: "parsing, hashing, compressing for storage",
    stages.WRITE: "the storage area writes the file",
    stages.STORE: "writing and index; this log does not divide them",
    stages.COMMIT: "the index transaction",
    stages.UNKNOWN: "no line of the log divides this",
    stages.TOTAL: "request seen, to stored",
}


def stage_tables(protocol: LoggedProtocol) -> Iterator[str]:
    """Yield the table of stages, and the one of what was measured beside them."""
    rows = [
        f"<tr{' class=total' if stage.stage == stages.TOTAL else ''}>"
        f"<td>{swatch(stage.stage) if stage.stage != stages.TOTAL else ''}{safe(stage.stage)}</td>{_numbers(stage)}"
        f'<td class="wide">{stacked_bar([(stage.stage, stage.share)], 1.0) if stage.stage != stages.TOTAL else ""}</td>'
        f'<td class="left optional soft">{MEANINGS.get(stage.stage, "")}</td></tr>'
        for stage in protocol.stages
    ]
    title = f"{NAMES[protocol.protocol]}: {protocol.instances:,} instances"
    if rows:
        yield _table(
            title, "stage", rows, '<th class="left">share of the time</th><th class="left optional">what it is</th>'
        )
    if protocol.beside:
        beside = [f"<tr><td>{safe(BESIDE[entry.stage])}</td>{_numbers(entry)}</tr>" for entry in protocol.beside]
        yield _table("", "beside the stages", beside, "")


def _table(title: str, first: str, rows: Sequence[str], more: str) -> str:
    head = (
        f'<th>{first}</th><th class="optional">count</th><th>p50 ms</th><th class="optional">p90 ms</th><th>p99 ms'
        f'</th><th class="optional">max ms</th>{more}'
    )
    caption = f"<caption>{safe(title)}</caption>" if title else ""
    return (
        f'<div class="scroll"><table>{caption}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
        "</div>"
    )


def _numbers(stage: StageSnapshot) -> str:
    return (
        f'<td class="optional">{stage.count:,}</td><td>{milliseconds(stage.p50_ms)}</td>'
        f'<td class="optional">{milliseconds(stage.p90_ms)}</td>'
        f'<td>{milliseconds(stage.p99_ms)}</td><td class="optional">{milliseconds(stage.max_ms)}</td>'
    )


def gaps_table(protocol: LoggedProtocol) -> str:
    """Return how many gaps were how long; those of the 40 ms stall are marked."""
    most = max(entry.count for entry in protocol.gaps)
    stall = (STALL_LOW_US / 1e3, STALL_HIGH_US / 1e3)
    filled = [number for number, entry in enumerate(protocol.gaps) if entry.count]
    rows = []
    for entry in protocol.gaps[filled[0] : filled[-1] + 1]:
        is_stall = (entry.low_ms, entry.high_ms) == stall and bool(entry.count)
        colour = "bad" if is_stall else "accent"
        note = '<span class="bad-text">the 40 ms stall</span>' if is_stall else ""
        rows.append(
            f"<tr><td>{_bound(entry.low_ms)} – {_bound(entry.high_ms)}</td><td>{entry.count:,}</td>"
            '<td class="wide" style="width:60%"><div class="bar">'
            f'<b class="{colour}" style="width:{percent(100 * entry.count / most)}"></b></div></td>'
            f'<td class="left">{note}</td></tr>'
        )
    head = "<tr><th>from – to</th><th>gaps</th><th></th><th></th></tr>"
    return (
        f"<table><caption>{NAMES[protocol.protocol]}</caption><thead>{head}</thead><tbody>{''.join(rows)}</tbody>"
        "</table>"
    )


def _bound(value_ms: float) -> str:
    return f"{value_ms / 1000:g} s" if value_ms >= 1000 else f"{value_ms:g} ms"


def slowest_table(slowest: Sequence[SlowLogged]) -> str:
    """Return the slowest instances, each with a bar of its stages."""
    whole_ms = max(slow.total_ms for slow in slowest)
    rows = [
        f"<tr><td>{slow.at}</td><td>{safe(NAMES.get(slow.protocol, slow.protocol))}</td>"
        f"<td>{milliseconds(slow.total_ms)}</td>"
        f'<td class="wide" style="width:46%">{stacked_bar(list(slow.stages.items()), whole_ms)}</td>'
        f'<td class="left optional soft">{safe(slow.client, 60)}</td></tr>'
        for slow in slowest
    ]
    names = list(dict.fromkeys(name for slow in slowest for name in slow.stages))
    head = (
        '<tr><th>began at</th><th>over</th><th>ms</th><th class="left">stages</th><th class="left optional">client'
        "</th></tr>"
    )
    return (
        f'{legend(names)}<div class="scroll"><table><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
