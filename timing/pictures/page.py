"""The frame of a page, and the pieces that pages share."""

from collections.abc import Iterable, Sequence

from .markup import percent, safe
from .style import PAGE, class_of
from .waterfall import NOTHING, Picture, Timeline, embedded, instance_picture, lanes_picture, stages_of

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole HTML document that needs nothing but itself; no script runs in it, whatever the text says."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{safe(title)}</title><style>{PAGE}</style></head><body><main>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def legend(stages: Iterable[str], *, idle: bool = False) -> str:
    """Return the key to the colours."""
    entries = "".join(f"<li>{swatch(stage)}{safe(stage)}</li>" for stage in stages)
    if idle:
        entries += f'<li><i class="idle"></i>{NOTHING}</li>'
    return f'<ul class="legend">{entries}</ul>'


def swatch(stage: str) -> str:
    """Return a little square in a stage's colour."""
    return f'<i class="{class_of(stage)}"></i>'


def stacked_bar(parts: Sequence[tuple[str, float]], whole_ms: float) -> str:
    """Return stages one after the other in a line, as long as `whole_ms` is to the widest."""
    pieces = "".join(
        f'<b class="{class_of(stage)}" style="width:{percent(100 * length_ms / (whole_ms or 1))}" '
        f'title="{safe(stage)}"></b>'
        for stage, length_ms in parts
    )
    return f'<div class="bar">{pieces}</div>'


def figure(picture: Picture, description: str, caption: str) -> str:
    """Return a picture with the sentence that says what to see in it."""
    return f"<figure>{embedded(picture, description)}<figcaption>{safe(caption, 400)}</figcaption></figure>"


def lanes_figure(timelines: Sequence[Timeline], description: str, caption: str) -> str:
    """Return many instances on one clock, with the key to the colours."""
    return legend(stages_of(timelines), idle=True) + figure(lanes_picture(timelines), description, caption)


def instance_figure(timeline: Timeline, caption: str) -> str:
    """Return one instance stage by stage."""
    return figure(instance_picture(timeline), f"Stages of {timeline.label}", caption)
