"""`Guard`, the entrance to the package: takes the bytes of a file, returns why to refuse it, never raises."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from .received import Received, inflate
from .settings import Settings
from .walk import ENCODINGS, EXPLICIT, SLACK_BYTES, Encoding, Reason, Walk, count_items

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Status:
    """Counts since the start.

    Attributes:
        looked_at: files checked.
        suspected: malformed ones with more items than sequences are allowed, which were walked in every encoding.
        refused: files refused, by reason.
        total_ns: time spent in all.
        longest_ns: time spent on the one file that took longest.
    """

    looked_at: int
    suspected: int
    refused: dict[Reason, int]
    total_ns: int
    longest_ns: int


class Guard:
    """Says which files must not be parsed. Thread safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._looked_at = self._suspected = self._total_ns = self._longest_ns = 0
        self._refused = dict.fromkeys(Reason, 0)

    def refusal(self, dicom: bytes, origin: str) -> str:
        """Checks one file.

        Args:
            dicom: a file as received; any bytes are tolerated.
            origin: where it came from, for the log.

        Returns:
            Empty, or one line that says why the file is to be refused.
        """
        started = time.perf_counter_ns()
        found = _Findings()
        try:
            self._check(dicom, found)
        except Exception as error:  # noqa: BLE001 - MemoryError too: a failure of the guard refuses nothing
            _log.error("%s: %s", type(error).__name__, error)
        self._count(found, time.perf_counter_ns() - started)
        if found.reason is None:
            return ""
        line = self._message(found.reason)
        _log.warning("refused %d bytes received by %s: %s", len(dicom), origin, line)
        return line

    def status(self) -> Status:
        """A snapshot."""
        with self._lock:
            return Status(self._looked_at, self._suspected, dict(self._refused), self._total_ns, self._longest_ns)

    def _message(self, reason: Reason) -> str:
        limits = {
            Reason.TOO_DEEP: (self._settings.max_sequence_depth, "MaxSequenceDepth"),
            Reason.TOO_MANY: (self._settings.max_elements, "MaxElements"),
            Reason.INFLATES: (self._settings.max_inflated_bytes, "MaxInflatedBytes"),
        }
        if reason not in limits:
            return str(reason)
        limit, key = limits[reason]
        return f"{reason}: more than {limit} (IngestGuard.{key})"

    def _count(self, found: _Findings, elapsed_ns: int) -> None:
        with self._lock:
            self._looked_at += 1
            self._suspected += found.suspected
            self._total_ns += elapsed_ns
            self._longest_ns = max(self._longest_ns, elapsed_ns)
            if found.reason is not None:
                self._refused[found.reason] += 1

    def _check(self, dicom: bytes, found: _Findings) -> None:
        received = Received(dicom)
        if received.meta_end > len(dicom) + SLACK_BYTES:
            found.reason = Reason.BEYOND_THE_FILE
        elif not received.deflated:
            self._walk(dicom, received.starts, received.encoding, found)
            if received.starts and received.meta_end < received.starts[0]:
                # DCMTK reads elements of any group as file meta information, with VRs, up to where the group length
                # points.
                self._walk(dicom[: received.starts[0]], (received.meta_end,), EXPLICIT, found)
        else:
            for start in received.starts:
                body = self._inflated(memoryview(dicom)[start:], found)
                self._walk(body, (0,), EXPLICIT, found)

    def _inflated(self, deflated: memoryview, found: _Findings) -> bytes:
        """The data set, or as much of it as can be inflated and is allowed."""
        pieces, size = [], 0
        for piece in inflate(deflated):
            size += len(piece)
            if size > self._settings.max_inflated_bytes:
                found.reason = Reason.INFLATES
                return b""
            pieces.append(piece)
        return b"".join(pieces)

    def _walk(self, content: bytes, starts: tuple[int, ...], encoding: Encoding, found: _Findings) -> None:
        max_depth, max_elements = self._settings.max_sequence_depth, self._settings.max_elements
        ends_well = False
        for start in starts:
            walk = Walk(content, max_depth, max_elements)
            reason = walk.check_from(start, encoding)
            # Where the first start led to the end of the file, DCMTK does not read from the second.
            if not (ends_well and reason is Reason.BEYOND_THE_FILE):
                found.reason = found.reason or reason
            ends_well |= walk.whole
            if found.reason or walk.whole or count_items(content) <= max_depth:
                continue
            # The encoding may not be what the file says, and there are enough items to be dangerous. So walk it in the
            # other encodings too; a wrong one ends soon.
            found.suspected = True
            others = (
                Walk(content, max_depth, max_elements).check_from(start, other)
                for other in ENCODINGS
                if other != encoding
            )
            found.reason = Reason.TOO_DEEP if Reason.TOO_DEEP in others else None


@dataclass(slots=True)
class _Findings:
    """What was found in one file."""

    reason: Reason | None = None
    suspected: bool = False
