"""Waterfalls as SVG: one instance stage by stage, many instances on one clock.

Lengths to the right are percentages and text is never scaled, so that the same picture is readable at 400 pixels and at
1600.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from .markup import duration, percent, safe
from .style import PICTURE, class_of

_AXIS: Final = 24
_STEP: Final = 36
_LANE: Final = 13
_MAX_TICKS: Final = 5
_WIDTH: Final = 860
_MARGIN: Final = 24

NOTHING: Final = "none of these under way"


class Timeline(NamedTuple):
    """One instance: where it begins, and how long each of its stages took, in order; all in milliseconds."""

    label: str
    begin_ms: float
    stages: Sequence[tuple[str, float]]

    @property
    def total_ms(self) -> float:
        """The sum of the stages."""
        return math.fsum(length for _, length in self.stages)


class Picture(NamedTuple):
    """SVG elements, and the height they need in pixels."""

    markup: str
    height: int


def instance_picture(timeline: Timeline) -> Picture:
    """Draw one instance, a line for each stage."""
    whole_ms = timeline.total_ms or 1.0
    height = _STEP * len(timeline.stages) + _AXIS
    parts = [_axis(whole_ms, height, _AXIS)]
    begin_ms = 0.0
    for number, (stage, length_ms) in enumerate(timeline.stages):
        top = _AXIS + number * _STEP
        text = (
            f'<tspan class="strong">{safe(stage)}</tspan> {duration(length_ms)} '
            f'<tspan class="soft">{length_ms / whole_ms:.0%}</tspan>'
        )
        parts.append(
            f'<text x="0" y="{top + 13}">{text}</text>'
            f'<rect class="track" x="0" y="{top + 18}" width="100%" height="12" rx="2"/>'
        )
        parts.append(_bar(stage, begin_ms / whole_ms, length_ms / whole_ms, top + 18, 12))
        begin_ms += length_ms
    return Picture("".join(parts), height)


def lanes_picture(timelines: Sequence[Timeline]) -> Picture:
    """Draw many instances, each on a lane of its own; `timelines` are in the order in which they begin."""
    first_ms = min((timeline.begin_ms for timeline in timelines), default=0.0)
    last_ms = max((timeline.begin_ms + timeline.total_ms for timeline in timelines), default=0.0)
    whole_ms = (last_ms - first_ms) or 1.0
    height = _AXIS + _LANE * len(timelines) + 2
    parts = [_axis(whole_ms, height, _AXIS)]
    busy_until_ms = 0.0
    for number, timeline in enumerate(timelines):
        top = _AXIS + number * _LANE + 2
        begin_ms = timeline.begin_ms - first_ms
        bars = [_idle(busy_until_ms / whole_ms, begin_ms / whole_ms, top)] if begin_ms > busy_until_ms else []
        busy_until_ms = max(busy_until_ms, begin_ms + timeline.total_ms)
        for stage, length_ms in timeline.stages:
            bars.append(_bar(stage, begin_ms / whole_ms, length_ms / whole_ms, top, _LANE - 4))
            begin_ms += length_ms
        told = ", ".join(f"{stage} {duration(length_ms)}" for stage, length_ms in timeline.stages)
        title = safe(f"{timeline.label}: {duration(timeline.total_ms)} ({told})", 400)
        parts.append(f"<g><title>{title}</title>{''.join(bars)}</g>")
    return Picture("".join(parts), height)


def embedded(picture: Picture, description: str) -> str:
    """Return the picture as an element of a page that has the style already."""
    return (
        f'<svg role="img" aria-label="{safe(description)}" width="100%" height="{picture.height}">{picture.markup}'
        "</svg>"
    )


def stages_of(timelines: Iterable[Timeline]) -> list[str]:
    """Return the stages that occur, in the order in which they first do."""
    return list(dict.fromkeys(stage for timeline in timelines for stage, _ in timeline.stages))


def standalone(title: str, panels: Sequence[tuple[str, Picture]], stages: Sequence[str]) -> str:
    """Return an SVG file: a title, the key to the colours, and pictures under each other, each with a line above it."""
    inner = _WIDTH - 2 * _MARGIN
    key = "".join(f'<tspan class="{class_of(stage)}">■</tspan> {safe(stage)} \u2003' for stage in stages)
    key += f'<tspan class="idle">■</tspan> {NOTHING}'
    parts = [
        f'<text class="title" x="{_MARGIN}" y="34">{safe(title)}</text>',
        f'<text x="{_MARGIN}" y="58" xml:space="preserve">{key}</text>',
    ]
    top = 76
    for caption, picture in panels:
        parts.append(f'<text class="strong" x="{_MARGIN}" y="{top + 14}">{safe(caption)}</text>')
        parts.append(
            f'<svg x="{_MARGIN}" y="{top + 22}" width="{inner}" height="{picture.height}" '
            f'overflow="visible">{picture.markup}</svg>'
        )
        top += picture.height + 46
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{top}" viewBox="0 0 {_WIDTH} {top}" '
        'role="img">'
        f"<title>{safe(title)}</title><style>{PICTURE}</style>"
        f'<rect class="paper" width="{_WIDTH}" height="{top}"/>{"".join(parts)}</svg>\n'
    )


def _bar(stage: str, begin: float, length: float, top: int, height: int) -> str:
    # A stage of a thousandth is still a line that can be seen.
    return (
        f'<rect class="{class_of(stage)}" x="{percent(100 * begin)}" y="{top}" '
        f'width="{percent(max(100 * length, 0.12))}" height="{height}"/>'
    )


def _idle(begin: float, end: float, top: int) -> str:
    """Return the mark of a time in which no instance was under way."""
    return (
        f'<rect class="idle" x="{percent(100 * begin)}" y="{top + 3}" width="{percent(100 * (end - begin))}" '
        'height="3"/>'
    )


def _axis(whole_ms: float, height: int, top: int) -> str:
    step_ms = _tick_step(whole_ms)
    marks = []
    for number in range(int(whole_ms / step_ms) + 1):
        at_ms = number * step_ms
        x = percent(100 * at_ms / whole_ms)
        anchor = "start" if number == 0 else "end" if at_ms > 0.93 * whole_ms else "middle"
        marks.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top - 4}" y2="{height}"/>')
        marks.append(f'<text class="soft" x="{x}" y="{top - 9}" text-anchor="{anchor}">{_tick(at_ms, step_ms)}</text>')
    return "".join(marks)


def _tick_step(whole_ms: float) -> float:
    """Return 1, 2 or 5 times a power of ten, so that there are at most _MAX_TICKS of them."""
    power = 10.0 ** math.floor(math.log10(whole_ms / _MAX_TICKS))
    return next(factor * power for factor in (1, 2, 5, 10, 20) if factor * power * _MAX_TICKS >= whole_ms)


def _tick(at_ms: float, step_ms: float) -> str:
    if at_ms == 0:
        return "0"
    return f"{at_ms / 1000:g} s" if step_ms >= 200 else f"{at_ms:g} ms"
