"""A log report as a self-contained HTML page: the answer first, then the pictures, then the numbers."""

from collections.abc import Iterator, Sequence
from typing import Final

from .. import stages
from ..pictures.markup import duration, percent, safe
from ..pictures.page import instance_figure, lanes_figure, legend, page, stacked_bar, swatch
from ..pictures.waterfall import Timeline, instance_picture, lanes_picture, stages_of, standalone
from ..snapshot import StageSnapshot
from ..table import milliseconds
from .finding import NAMES
from .findings_network import STALL_HIGH_US, STALL_LOW_US
from .report import LoggedProtocol, LoggedStudy, LogReport, ShownInstance, SlowLogged
from .text import BESIDE, about_lines, hint_of

TITLE: Final = "Where the time of each instance goes"
_MEANINGS: Final = {
    stages.RECEIVE: "request seen, to transcoding or writing",
    stages.TRANSCODE: "Orthanc transcodes it",
    stages.PREPARE: "parsing, hashing, compressing for storage",
    stages.WRITE: "the storage area writes the file",
    stages.STORE: "writing and index; this log does not divide them",
    stages.COMMIT: "the index transaction",
    stages.UNKNOWN: "no line of the log divides this",
    stages.TOTAL: "request seen, to stored",
}


def html_page(report: LogReport, names: Sequence[str]) -> str:
    """Return the page; `names` are those of the logs."""
    return page(TITLE, _body(report, names))


def svg_file(report: LogReport) -> str:
    """Return the waterfalls of the study and of its typical instance as one SVG file."""
    timelines = _timelines(report.study)
    panels = []
    if report.study is not None:
        typical = _typical(report.study)
        panels = [
            (_shown_of(report.study), lanes_picture(timelines)),
            (f"A typical instance: {duration(typical.total_ms)}", instance_picture(_timeline(typical))),
        ]
    return standalone(TITLE, panels, stages_of(timelines))


def lead_of(protocol: LoggedProtocol) -> str:
    """Return in one or two sentences where the time of an instance goes."""
    name = NAMES[protocol.protocol]
    total = next((stage for stage in protocol.stages if stage.stage == stages.TOTAL), None)
    if total is None:
        return (
            f"Over {name} {protocol.instances:,} instances were stored; which time belongs to which, this log does "
            "not tell."
        )
    longest = max((stage for stage in protocol.stages if stage is not total), key=lambda stage: stage.share)
    text = (
        f"Over {name} an instance takes {duration(total.p50_ms)} (median of {total.count:,}); "
        f"{longest.share:.0%} of that time is “{longest.stage}”: {_MEANINGS[longest.stage]}."
    )
    gap = next((entry for entry in protocol.beside if entry.stage == "gap"), None)
    return f"{text} Another {duration(gap.p50_ms)} pass before the same client's next one." if gap else text


def _body(report: LogReport, names: Sequence[str]) -> Iterator[str]:
    yield f"<h1>{TITLE}</h1>"
    yield f'<p class="soft">{safe(", ".join(names), 300)} · {safe(about_lines(report))}</p>'
    if not report.protocols:
        yield f'<p class="lead">{safe(hint_of(report), 500)}</p>'
    for protocol in report.protocols:
        yield f'<p class="lead">{safe(lead_of(protocol), 500)}</p>'
    yield "<h2>What stands out</h2>"
    yield _findings(report)
    if report.study is not None:
        yield from _study(report.study)
    if report.protocols:
        yield "<h2>Stages</h2>"
        yield from (table for protocol in report.protocols for table in _tables(protocol))
    if any(protocol.gaps for protocol in report.protocols):
        yield "<h2>Gaps between two instances of one client</h2>"
        yield from (_gaps(protocol) for protocol in report.protocols if protocol.gaps)
    if report.slowest:
        yield "<h2>The slowest instances</h2>"
        yield _slowest(report.slowest)


def _findings(report: LogReport) -> str:
    if not report.findings:
        return "<p>Nothing.</p>"
    advised: set[str] = set()
    items = []
    for finding in report.findings:
        advice = "As above." if finding.advice in advised else finding.advice
        advised.add(finding.advice)
        told = f'<p class="advice">→ {safe(advice, 800)}</p>' if finding.advice else ""
        items.append(f'<li class="{safe(finding.kind)}"><p>{safe(finding.text, 800)}</p>{told}</li>')
    return f'<ul class="findings">{"".join(items)}</ul>'


def _study(study: LoggedStudy) -> Iterator[str]:
    timelines = _timelines(study)
    whole_ms = max(timeline.begin_ms + timeline.total_ms for timeline in timelines)
    idle_ms = whole_ms - _covered_ms(timelines)
    yield f"<h2>{'A study' if study.orthanc_id else 'A run of instances'}, as it came in</h2>"
    caption = (
        f"{_shown_of(study)}. Each line is one instance, time runs to the right. "
        f"For {duration(idle_ms)} of these {duration(whole_ms)} ({idle_ms / (whole_ms or 1):.0%}) Orthanc was working "
        "on none of them."
    )
    yield lanes_figure(timelines, "Waterfall of a study", caption)
    typical = _typical(study)
    yield "<h2>A typical instance of it</h2>"
    yield instance_figure(
        _timeline(typical), f"The one of median duration: {duration(typical.total_ms)}. {_named(typical)}"
    )


def _shown_of(study: LoggedStudy) -> str:
    first = (
        f"{len(study.shown)} instances"
        if study.instances == len(study.shown)
        else f"The first {len(study.shown)} of {study.instances:,} instances"
    )
    return f"{first}, {duration(study.elapsed_ms)} in all, from {study.at} on"


def _named(instance: ShownInstance | SlowLogged) -> str:
    client = f" from {instance.client}" if instance.client else ""
    return f"{NAMES.get(instance.protocol, instance.protocol)}{client} {instance.orthanc_id}".strip()


def _typical(study: LoggedStudy) -> ShownInstance:
    return sorted(study.shown, key=lambda instance: instance.total_ms)[len(study.shown) // 2]


def _timeline(instance: ShownInstance) -> Timeline:
    return Timeline(_named(instance), instance.begin_ms, list(instance.stages.items()))


def _timelines(study: LoggedStudy | None) -> list[Timeline]:
    return [_timeline(instance) for instance in study.shown] if study else []


def _covered_ms(timelines: Sequence[Timeline]) -> float:
    covered_ms = until_ms = 0.0
    for timeline in timelines:  # in the order in which they begin
        end_ms = timeline.begin_ms + timeline.total_ms
        covered_ms += max(0.0, end_ms - max(until_ms, timeline.begin_ms))
        until_ms = max(until_ms, end_ms)
    return covered_ms


def _tables(protocol: LoggedProtocol) -> Iterator[str]:
    rows = [
        f"<tr{' class=total' if stage.stage == stages.TOTAL else ''}>"
        f"<td>{swatch(stage.stage) if stage.stage != stages.TOTAL else ''}{safe(stage.stage)}</td>{_numbers(stage)}"
        f'<td class="wide">{stacked_bar([(stage.stage, stage.share)], 1.0) if stage.stage != stages.TOTAL else ""}</td>'
        f'<td class="left optional soft">{_MEANINGS.get(stage.stage, "")}</td></tr>'
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


def _gaps(protocol: LoggedProtocol) -> str:
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


def _slowest(slowest: Sequence[SlowLogged]) -> str:
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
