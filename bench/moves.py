"""Sends a study from one Orthanc to another by C-STORE and by C-MOVE, with the tuner at no, one or both ends."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

from .machine import usage

WAYS = ("C-STORE to a modality", "C-MOVE")
# Who is tuned: (the receiving Orthanc, the sending one).
ENDS = {
    "neither": (False, False),
    "receiving end": (True, False),
    "sending end": (False, True),
    "both ends": (True, True),
}
DEADLINE_S = 170


@dataclass(frozen=True)
class Move:
    """The result of one cell in one round."""

    way: str
    ends: str
    per_second: float
    receiving_cpu_ms: float  # per instance, of the whole server
    sending_cpu_ms: float


def configuration(folder: Path, title: str, *, tuned: bool) -> dict[str, Any]:
    """An Orthanc with or without the tuner."""
    own = {"DicomAet": title, "DicomAlwaysAllowMove": True, "OverwriteInstances": True}
    return base_configuration(folder, bundle=tuned) | ({"DicomAssociations": {}} if tuned else {}) | own


def command(sending: OrthancProcess, study_uid: str) -> list[str]:
    """The command of DCMTK's C-MOVE SCU."""
    where = ["127.0.0.1", str(sending.dicom_port)]
    titles = ["-aet", "MOVER", "-aec", "SENDING", "-aem", "RECEIVING"]
    keys = ["-S", "-k", "QueryRetrieveLevel=STUDY", "-k", f"StudyInstanceUID={study_uid}"]
    return [senders.tool("movescu"), *titles, *keys, *where]


def transfer(way: str, sending: OrthancProcess) -> float:
    """Has `sending` send its only study to the other.

    Returns:
        Seconds.

    Raises:
        OrthancError: it failed.
    """
    (study_id,) = sending.json("GET", "/studies")
    began = time.monotonic()
    if way == "C-MOVE":
        study_uid = sending.json("GET", f"/studies/{study_id}")["MainDicomTags"]["StudyInstanceUID"]
        began = time.monotonic()
        done = subprocess.run(
            command(sending, study_uid), capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        if done.returncode != 0:
            raise OrthancError(
                f"movescu ended with status {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}"
            )
    else:
        sending.json("POST", "/modalities/receiving/store", {"Resources": [study_id], "Synchronous": True})
    return time.monotonic() - began


def measure(study: list[Path], folder: Path, ends: str) -> list[Move]:
    """Measures both ways between two fresh Orthancs, with the tuner at `ends`.

    Raises:
        OrthancError: a server that does not start, a transfer that fails, or an instance that did not arrive.
    """
    receiving_tuned, sending_tuned = ENDS[ends]
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        receiving_place, sending_place = place / "receiving", place / "sending"
        there = configuration(receiving_place, "RECEIVING", tuned=receiving_tuned)
        here = configuration(sending_place, "SENDING", tuned=sending_tuned)
        here["DicomModalities"] = {
            "receiving": ["RECEIVING", "127.0.0.1", there["DicomPort"]],
            "mover": ["MOVER", "127.0.0.1", 104],
        }
        with (
            OrthancProcess(receiving_place, there, graceful=False) as receiving,
            OrthancProcess(sending_place, here, graceful=False) as sending,
        ):
            senders.http_upload(sending, study, clients=2)
            return [_one(way, ends, receiving, sending, len(study)) for way in WAYS]
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _one(way: str, ends: str, receiving: OrthancProcess, sending: OrthancProcess, count: int) -> Move:
    before = [usage(server)[0] for server in (receiving, sending)]
    seconds = transfer(way, sending)
    cpu = [usage(server)[0] - begin for server, begin in zip((receiving, sending), before, strict=True)]
    held = receiving.json("GET", "/statistics")["CountInstances"]
    if held != count:
        raise OrthancError(f"{held} of {count} instances arrived")
    for study_id in receiving.json("GET", "/studies"):
        receiving.json("DELETE", f"/studies/{study_id}")
    return Move(way, ends, count / seconds, cpu[0] * 1000 / count, cpu[1] * 1000 / count)


def table(moves: list[Move]) -> str:
    """The Markdown table with a row for each way and place of the tuner."""
    lines = [
        "| Orthanc to Orthanc | tuner at | instances/s | ratio | CPU ms/instance, receiving | sending |",
        "|---|---|--:|--:|--:|--:|",
    ]
    for way in WAYS:
        native = statistics.median([one.per_second for one in moves if (one.way, one.ends) == (way, "neither")] or [0])
        for ends in ENDS:
            own = [one for one in moves if (one.way, one.ends) == (way, ends)]
            if not own:
                continue
            rate = statistics.median(one.per_second for one in own)
            ratio = f"{rate / native:.2f}" if native else ""
            cpu = [statistics.median(getattr(one, f"{end}_cpu_ms") for one in own) for end in ("receiving", "sending")]
            lines.append(f"| {way} | {ends} | {rate:.0f} | {ratio} | {cpu[0]:.1f} | {cpu[1]:.1f} |")
    return "\n".join(lines) + "\n"
