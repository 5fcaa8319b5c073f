"""A log report for a terminal."""

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..snapshot import StageSnapshot
from ..table import milliseconds
from .report import LoggedProtocol, LogReport, counted

_NAMES = {"http": "HTTP", "cstore": "C-STORE"}
BESIDE: Final = {
    "gap": "gap between instances",
    "answer": "compressed answer, at most",
    "new_instance_change": "change NewInstance",
    "other_change": "other changes",
}
# Count, what it says of the log.
_TROUBLES = (
    ("damaged", "damaged lines left out"),
    ("clock jumps", "clock jumps"),
    ("out of order", "instances with lines out of order, left out"),
    ("too long", "instances of more than an hour by the clock, left out"),
    ("stored without a beginning", "instances whose beginning is not in the log"),
    ("files that end early", "files that end early"),
    ("restarts", "starts of Orthanc"),
    ("rotations", "rotations"),
    ("open at the end", "instances under way at the end"),
)


def render(report: LogReport) -> Group:
    """Return the report as tables and sentences, at most 80 columns wide."""
    return Group(*_parts(report))


def render_live(report: LogReport, name: str) -> Group:
    """Return the tables alone, for a terminal that is drawn anew while `name` is followed."""
    tables = [
        table
        for protocol in report.protocols
        for table in (
            _stage_table(protocol) if protocol.stages else Text(_title(protocol)),
            *([_beside_table(protocol)] if protocol.beside else []),
        )
    ]
    return Group(Text(f"{name}: {about_lines(report)}. Ctrl-C ends."), *tables)


def _parts(report: LogReport) -> Iterator[RenderableType]:
    yield Text(about_lines(report))
    if not report.protocols:
        yield Text(hint_of(report))
    for protocol in report.protocols:
        yield Text()
        yield _stage_table(protocol) if protocol.stages else Text(_title(protocol))
        if protocol.beside:
            yield _beside_table(protocol)
    if report.slowest:
        yield Text()
        yield _slowest_table(report)
    yield Text("\nWhat stands out")
    if not report.findings:
        yield Text("  Nothing.")
    advised: set[str] = set()
    for finding in report.findings:
        yield Text(f"{'*' if finding.kind == 'problem' else '-'} {finding.text}")
        if finding.advice:
            yield Text("  -> As above." if finding.advice in advised else f"  -> {finding.advice}", style="dim")
            advised.add(finding.advice)


def hint_of(report: LogReport) -> str:
    """Return why a log tells of no instance, and what to do."""
    counts = report.counts
    if not counted(counts, "lines"):
        return "The log is empty."
    if not counted(counts, "records"):
        return "No line has the form of Orthanc's log."
    if not counted(counts, "verbose records"):
        return (
            "The log has only warnings and errors. Start Orthanc with --verbose or, for more stages, --trace; or set "
            "it while it runs: curl -X PUT http://ORTHANC:8042/tools/log-level -d verbose"
        )
    return (
        "No stored instance was found: none was stored meanwhile, or only some log categories are verbose, such as "
        "--verbose-dicom. Orthanc must run with --verbose or --trace as a whole."
    )


def about_lines(report: LogReport) -> str:
    """Return how much was read, and what was wrong with it."""
    counts = report.counts
    troubles = [f"{counts[name]:,} {text}" for name, text in _TROUBLES if counted(counts, name)]
    return "; ".join([f"{counted(counts, 'lines'):,} lines, {counted(counts, 'records'):,} records", *troubles])


def _title(protocol: LoggedProtocol) -> str:
    notes = (
        (protocol.overlapped, "at once with others"),
        (protocol.duplicates, "there already"),
        (protocol.unfinished, "never stored"),
    )
    name = _NAMES.get(protocol.protocol, protocol.protocol)
    return ", ".join(
        [f"{name}: {protocol.instances:,} instances", *(f"{count:,} {text}" for count, text in notes if count)]
    )


def _stage_table(protocol: LoggedProtocol) -> Table:
    table = _table(_title(protocol), "stage")
    for stage in protocol.stages:
        table.add_row(*_row(stage, stage.stage), f"{stage.share:.1%}", style="bold" if stage.stage == "total" else None)
    return table


def _beside_table(protocol: LoggedProtocol) -> Table:
    table = _table("", "beside the stages", share=False)
    for entry in protocol.beside:
        table.add_row(*_row(entry, BESIDE[entry.stage]))
    return table


def _table(title: str, first: str, *, share: bool = True) -> Table:
    table = Table(title=title or None, title_justify="left")
    table.add_column(first)
    for heading in ("count", "p50 ms", "p90 ms", "p99 ms", "max ms", *(["share"] if share else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _row(stage: StageSnapshot, name: str) -> list[str]:
    durations = (stage.p50_ms, stage.p90_ms, stage.p99_ms, stage.max_ms)
    return [name, f"{stage.count:,}", *map(milliseconds, durations)]


def _slowest_table(report: LogReport) -> Table:
    table = Table(title="Slowest instances", title_justify="left")
    table.add_column("began at", no_wrap=True)
    table.add_column("over", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("stages, ms")
    for slow in report.slowest:
        parts = " ".join(f"{name} {milliseconds(value)}" for name, value in slow.stages.items())
        table.add_row(slow.at, _NAMES.get(slow.protocol, slow.protocol), milliseconds(slow.total_ms), parts)
    return table
