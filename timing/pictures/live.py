"""Waterfalls from live data: the answer of GET /timing/slowest."""

import math
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .markup import duration, safe
from .page import figure, instance_figure, legend, page
from .waterfall import Timeline, instance_picture, lanes_picture, stages_of, standalone

TITLE: Final = "The slowest instances"
_MAX_PICTURES: Final = 200
_OF_THE_CLIENT: Final = frozenset({"wait", "response"})
"""Time of the instance before, or of its client: an association may sit idle for minutes."""


class NotSlowestError(ValueError):
    """The JSON is not an answer of GET /timing/slowest; the message names what is wrong."""


def timelines_of(document: bytes) -> list[Timeline]:
    """Return the instances of the answer, slowest first; each begins at 0, and waiting for its client is left out.

    Raises:
        NotSlowestError: it is not such an answer.
    """
    try:
        entries = msgspec.json.decode(document)
    except msgspec.DecodeError as error:
        raise NotSlowestError(f"not JSON: {error}") from error
    if isinstance(entries, dict):
        entries = next((value for value in entries.values() if isinstance(value, list)), None)
    if not isinstance(entries, list):
        raise NotSlowestError("not a list of instances")
    timelines = [_timeline(number, entry) for number, entry in enumerate(entries[:_MAX_PICTURES])]
    return sorted(timelines, key=lambda timeline: -timeline.total_ms)


def slowest_page(timelines: list[Timeline]) -> str:
    """Return a self-contained HTML page."""
    body = [f"<h1>{TITLE}</h1>"]
    if not timelines:
        return page(TITLE, [*body, "<p>No instance was stored yet.</p>"])
    slowest = timelines[0]
    caption = f"{len(timelines)} instances, each a line; all begin at the left, so that their stages can be compared. "
    caption += "Waiting for the client is left out."
    body += [
        f'<p class="lead">{_lead(slowest)}</p>',
        "<h2>Side by side</h2>",
        legend(stages_of(timelines)),
        figure(lanes_picture(timelines), TITLE, caption),
        "<h2>The slowest of them</h2>",
        instance_figure(slowest, slowest.label),
    ]
    return page(TITLE, body)


def slowest_svg(timelines: list[Timeline]) -> str:
    """Return the same pictures as one SVG file."""
    panels = [("Side by side", lanes_picture(timelines))] if timelines else []
    panels += [
        (f"{timeline.label}: {duration(timeline.total_ms)}", instance_picture(timeline)) for timeline in timelines[:1]
    ]
    return standalone(TITLE, panels, stages_of(timelines))


def _lead(slowest: Timeline) -> str:
    stage, length_ms = max(slowest.stages, key=lambda part: part[1], default=("unknown", 0.0))
    return (
        f"The slowest took {duration(slowest.total_ms)}; {length_ms / (slowest.total_ms or 1):.0%} of that is "
        f"“{safe(stage)}”."
    )


def _timeline(number: int, entry: Any) -> Timeline:
    stages = entry.get("stages") if isinstance(entry, Mapping) else None
    if not isinstance(stages, Mapping):
        raise NotSlowestError(f"instance {number} has no stages")
    for name, length in stages.items():
        if isinstance(length, bool) or not isinstance(length, int | float) or not 0 <= length < math.inf:
            raise NotSlowestError(f"instance {number}: the stage {str(name)[:40]!r} has no duration in milliseconds")
    label = " ".join(str(entry[key]) for key in ("protocol", "client", "outcome", "orthanc_id") if entry.get(key))
    shown = [(str(name), float(length)) for name, length in stages.items() if name not in _OF_THE_CLIENT]
    return Timeline(label, 0.0, shown)
