"""HTTP ingest beside a busy association: how much the association watcher slows it.

The association sends ten instances a second, so that native and tuned servers store the same number over it.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pynetdicom import AE

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration

PACE_PER_S = 10.0
BESIDE = 40  # slices of the study that the association sends repeatedly


@dataclass(frozen=True)
class Beside:
    """One measurement: HTTP uploads, with an association beside them or without."""

    clients: int
    tuned: bool
    busy: bool
    per_second: float


class PacedSender:
    """An association that stores an instance every 1 / PACE_PER_S seconds until it is stopped."""

    def __init__(self, server: OrthancProcess, paths: list[Path]) -> None:
        self._datasets = [dcmread(path) for path in paths]
        ae = AE(ae_title="PACED")
        for sop_class, syntax in {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in self._datasets}:
            ae.add_requested_context(sop_class, syntax)
        self._association = ae.associate("127.0.0.1", server.dicom_port, ae_title="ORTHANC")
        if not self._association.is_established:
            raise OrthancError("no association")
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number, due = 0, time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            self._association.send_c_store(self._datasets[number % len(self._datasets)])
            number, due = number + 1, due + 1 / PACE_PER_S

    def stop(self) -> None:
        """Ends the association."""
        self._end.set()
        self._thread.join()
        self._association.release()


def measure(study: list[Path], folder: Path, clients: int, *, tuned: bool, busy: bool) -> Beside:
    """Measures one cell.

    Raises:
        OrthancError: a server that does not start, or a store that fails.
    """
    place = Path(tempfile.mkdtemp(dir=folder))
    configuration = base_configuration(place, bundle=tuned) | ({"DicomAssociations": {}} if tuned else {})
    try:
        with OrthancProcess(place, configuration, graceful=False) as server:
            sender = PacedSender(server, study[:BESIDE]) if busy else None
            try:
                time.sleep(1)
                began = time.monotonic()
                senders.http_upload(server, study[BESIDE:], clients=clients)
                return Beside(clients, tuned, busy, (len(study) - BESIDE) / (time.monotonic() - began))
            finally:
                if sender is not None:
                    sender.stop()
    finally:
        shutil.rmtree(place, ignore_errors=True)


def table(found: list[Beside]) -> str:
    """The Markdown table with a row for each number of clients."""
    lines = [
        f"| HTTP clients | native | native, beside an association of {PACE_PER_S:.0f}/s | tuned "
        "| tuned, beside the same | of native |",
        "|--:|--:|--:|--:|--:|--:|",
    ]
    for clients in dict.fromkeys(one.clients for one in found):
        rates = [
            statistics.median(
                [one.per_second for one in found if (one.clients, one.tuned, one.busy) == (clients, tuned, busy)]
                or [0.0]
            )
            for tuned in (False, True)
            for busy in (False, True)
        ]
        ratio = f"{rates[3] / rates[1]:.2f}" if rates[1] else "failed"
        lines.append(f"| {clients} | {' | '.join(f'{rate:.0f}' for rate in rates)} | {ratio} |")
    return "\n".join(lines) + "\n"
