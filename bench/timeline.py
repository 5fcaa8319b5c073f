"""Draws docs/images/c-store-stalls.svg from a capture: `python -m bench timeline` (needs root and tcpdump).

Some consecutive instances of one association over loopback, by an unmodified storescu, three times: native Orthanc,
NoDelay alone, and NoDelay with QuickAck.
"""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from harness import phantom, senders
from harness.orthanc_process import BUNDLE, OrthancError, OrthancProcess, base_configuration

OUTPUT = BUNDLE / "docs" / "images" / "c-store-stalls.svg"
RUNS: dict[str, dict[str, Any] | None] = {
    "native Orthanc": None,
    "NoDelay": {"DicomAssociations": {"QuickAck": False}},
    "NoDelay and QuickAck": {"DicomAssociations": {}},
}
STALL_MS = 20.0
SKIPPED, SHOWN = 4, 8  # instances: the first ones are quick, while the kernel still acknowledges at once
_LINE = re.compile(
    r"^(?P<time>\d+\.\d+) IP \S+?\.(?P<source>\d+) > \S+?\.\d+: Flags \[[^]]*\].* length (?P<length>\d+)"
)


@dataclass(frozen=True)
class Segment:
    """One TCP segment: when (ms), from Orthanc or to it, bytes of data (0: an acknowledgement alone)."""

    at_ms: float
    from_orthanc: bool
    data_bytes: int


def capture(sections: dict[str, Any] | None, study: list[Path], folder: Path) -> list[Segment]:
    """The segments of one association that sends `study`.

    Raises:
        OrthancError: no tcpdump, or it saw nothing.
    """
    tcpdump = shutil.which("tcpdump", path="/usr/sbin:/usr/bin")
    if tcpdump is None:
        raise OrthancError("tcpdump is not installed: apt-get install tcpdump")
    place = Path(tempfile.mkdtemp(dir=folder))
    configuration = base_configuration(place, bundle=sections is not None) | (sections or {})
    with OrthancProcess(place, configuration, graceful=False) as server, (place / "capture").open("w+") as output:
        arguments = ["-i", "lo", "-nn", "-tt", "-l", f"tcp port {server.dicom_port}"]
        with subprocess.Popen([tcpdump, *arguments], stdout=output, stderr=subprocess.DEVNULL) as recorder:
            time.sleep(2)  # tcpdump does not tell when it has begun
            senders.storescu(server, study)
            time.sleep(1)
            recorder.terminate()
        matches = [_LINE.match(line) for line in (place / "capture").read_text().splitlines()]
        segments = [
            Segment(float(match["time"]) * 1000, int(match["source"]) == server.dicom_port, int(match["length"]))
            for match in matches
            if match is not None
        ]
    if not segments:
        raise OrthancError("tcpdump saw no segment: it needs root")
    return segments


def cycles(segments: list[Segment]) -> list[list[Segment]]:
    """Segments by instance, without the set-up and the end of the association.

    An instance begins with the first data after data of Orthanc's.
    """
    found: list[list[Segment]] = []
    answered = True
    for segment in segments:
        if segment.data_bytes and not segment.from_orthanc and answered:
            found.append([])
            answered = False
        answered = answered or (segment.from_orthanc and segment.data_bytes > 100)
        if found:
            found[-1].append(segment)
    return [cycle for cycle in found if sum(one.data_bytes for one in cycle) > 100_000]


def excerpt(found: list[list[Segment]]) -> list[Segment]:
    """SHOWN instances after the first SKIPPED, with times from their own beginning."""
    chosen = [segment for cycle in found[SKIPPED : SKIPPED + SHOWN] for segment in cycle]
    return [Segment(one.at_ms - chosen[0].at_ms, one.from_orthanc, one.data_bytes) for one in chosen]


def stalls(cycle: list[Segment]) -> list[tuple[float, float, str]]:
    """Pauses of more than STALL_MS: begin, end, and kind."""
    found = []
    for before, after in itertools.pairwise(cycle):
        if after.at_ms - before.at_ms > STALL_MS:
            kind = "response" if before.from_orthanc else "end"
            found.append((before.at_ms, after.at_ms, kind))
    return found


def panel(name: str, cycle: list[Segment], top: int, scale: float) -> list[str]:
    """Draws one run as two lanes, with time to the right."""
    left = 190
    lanes = {False: top + 30, True: top + 70}
    parts = [
        f'<text x="10" y="{top + 14}" class="name">{escape(name)}</text>',
        f'<text x="10" y="{lanes[False] + 5}">storescu sends</text>',
        f'<text x="10" y="{lanes[True] + 5}">Orthanc answers</text>',
    ]
    end = left + cycle[-1].at_ms * scale
    parts += [f'<line x1="{left}" x2="{end:.1f}" y1="{y}" y2="{y}" class="lane"/>' for y in lanes.values()]
    for begin, finish, kind in stalls(cycle):
        x, width = left + begin * scale, (finish - begin) * scale
        parts.append(f'<rect x="{x:.1f}" y="{top + 18}" width="{width:.1f}" height="64" class="{kind}"/>')
    for segment in cycle:
        height = 22 if segment.data_bytes > 1000 else 14 if segment.data_bytes else 6
        x, y = left + segment.at_ms * scale, lanes[segment.from_orthanc]
        kind = "data" if segment.data_bytes else "ack"
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y - height / 2}" y2="{y + height / 2}" class="{kind}"/>')
    parts.append(f'<text x="{end + 8:.1f}" y="{top + 54}" class="total">{cycle[-1].at_ms:.1f} ms</text>')
    return parts


STYLE = """
text { font: 13px sans-serif; fill: #222 } .name { font-weight: bold } .total { font-weight: bold }
.lane { stroke: #bbb } .data { stroke: #06c; stroke-width: 2 }
.ack { stroke: #888; stroke-width: 2 } .response { fill: #fcc } .end { fill: #fd9 }
"""


def picture(runs: dict[str, list[Segment]]) -> str:
    """Draws all panels on one scale, as SVG."""
    scale = 560 / max(cycle[-1].at_ms for cycle in runs.values())
    height = 110 * len(runs) + 70
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 840 {height}" width="840" height="{height}">',
        f"<style>{STYLE}</style>",
    ]
    parts.append(f'<rect width="840" height="{height}" fill="#fff"/>')
    for number, (name, cycle) in enumerate(runs.items()):
        parts += panel(name, cycle, 10 + 110 * number, scale)
    legend = (
        f"{SHOWN} instances of 525 KB, one association, loopback. Blue: data (tall: pieces of the image). "
        "Grey: acknowledgements alone.",
        "Red: Orthanc has sent half of its response and waits to send the rest. Orange: storescu waits to send the "
        "end of the image.",
    )
    parts += [f'<text x="10" y="{height - 34 + 20 * number}">{line}</text>' for number, line in enumerate(legend)]
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def main() -> int:
    """Captures, draws, and prints the stalls."""
    folder = Path(tempfile.mkdtemp(prefix="timeline-"))
    try:
        study = phantom.make_study(folder / "study", slices=21)
        runs = {name: excerpt(cycles(capture(sections, study, folder))) for name, sections in RUNS.items()}
        OUTPUT.parent.mkdir(parents=True, exist_ok=True)
        OUTPUT.write_text(picture(runs))
        for name, cycle in runs.items():
            print(
                f"{name}: {cycle[-1].at_ms:.1f} ms, stalls "
                f"{[(kind, round(end - begin, 1)) for begin, end, kind in stalls(cycle)]}"
            )
    except OrthancError as error:
        print(f"timeline: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
