"""When the watcher scans all descriptors without an event on the sockets it knows."""

from __future__ import annotations

import sys
from enum import Enum

_MS = 1_000_000
_NEVER_NS = sys.maxsize


class Reason(Enum):
    """Why a scan is due; each reason has its own pace."""

    ACCEPTING = "a connection reached the listening socket; its descriptor appears when the DICOM server accepts it"
    OUTGOING = "an association to a modality is likely to be opened, and no event tells of it"
    LISTENER = "the DICOM server does not listen yet, or may listen on a new socket"


class Schedule:
    """The next scan for each reason; the time to it doubles after each, up to a limit."""

    def __init__(self) -> None:
        self._due: dict[Reason, tuple[int, int, int]] = {}
        self.next_ns = _NEVER_NS  # of the earliest scan; kept up to date, as it is asked for at each wake-up

    def begin(self, reason: Reason, now_ns: int, first_ms: float, limit_ms: float) -> None:
        """Starts or restarts a reason, with its first scan `first_ms` from now."""
        step_ns = int(first_ms * _MS)
        self._due[reason] = (now_ns + step_ns, step_ns, int(limit_ms * _MS))
        self._find_next()

    def end(self, reason: Reason) -> None:
        """Ends the scans for this reason."""
        if self._due.pop(reason, None) is not None:
            self._find_next()

    def __contains__(self, reason: Reason) -> bool:
        return reason in self._due

    def timeout_s(self, now_ns: int) -> float:
        """Returns how long epoll may wait: -1 where no scan is scheduled."""
        if self.next_ns == _NEVER_NS:
            return -1
        return max(0, self.next_ns - now_ns) / 1e9

    def take(self, now_ns: int) -> set[Reason]:
        """Returns the reasons that are due, and schedules their next scans."""
        due = {reason for reason, (due_ns, _, _) in self._due.items() if due_ns <= now_ns}
        for reason in due:
            _, step_ns, limit_ns = self._due[reason]
            step_ns = min(max(step_ns * 2, _MS), limit_ns)
            self._due[reason] = (now_ns + step_ns, step_ns, limit_ns)
        self._find_next()
        return due

    def _find_next(self) -> None:
        self.next_ns = min((due_ns for due_ns, _, _ in self._due.values()), default=_NEVER_NS)
