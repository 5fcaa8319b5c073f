"""A log report as a self-contained HTML page: the answer first, then the pictures, then the numbers."""

from collections.abc import Iterator, Sequence
from typing import Final

from .. import stages
from ..pictures.markup import duration, safe
from ..pictures.page import instance_figure, lanes_figure, page
from ..pictures.waterfall import Timeline, instance_picture, lanes_picture, stages_of, standalone
from .finding import NAMES
from .page_tables import MEANINGS, gaps_table, slowest_table, stage_tables
from .report import LoggedProtocol, LoggedStudy, LogReport, ShownInstance, SlowLogged
from .text import about_lines, hint_of

TITLE: Final = "Where the time of each instance goes"


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
        f"{longest.share:.0%} of that time is “{longest.stage}”: {MEANINGS[longest.stage]}."
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
        yield from (table for protocol in report.protocols for table in stage_tables(protocol))
    if any(protocol.gaps for protocol in report.protocols):
        yield "<h2>Gaps between two instances of one client</h2>"
        yield from (gaps_table(protocol) for protocol in report.protocols if protocol.gaps)
    if report.slowest:
        yield "<h2>The slowest instances</h2>"
        yield slowest_table(report.slowest)


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
