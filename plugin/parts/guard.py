"""IngestGuard: its route and metrics. Its callback is in `plugin.callbacks`."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from guard import Guard, Status
from guard.settings import Settings
from timing import Metric

from .. import rest
from .part import PREFIX, Part, single


class GuardPart(Part):
    """Refuses files that would end Orthanc's process."""

    section = "IngestGuard"
    needs = ("RegisterReceivedInstanceCallback", "RegisterRestCallback")

    def __init__(self, settings: Settings) -> None:
        self.guard = Guard(settings)

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """Refusals by reason."""
        return {"guard": lambda: guard_metrics(self.guard.status())}

    def routes(self) -> list[rest.Route]:
        """Refusals by reason."""
        return [
            rest.json_route("GET", "/guard/status", "files refused", lambda _: self.guard.status(), Status),
        ]


def guard_metrics(status: Status) -> Iterable[Metric]:
    """Refusals by reason, and the time that the checks took."""
    refused = [({"reason": str(reason)}, count) for reason, count in status.refused.items()]
    yield Metric(f"{PREFIX}guard_refused_total", "Files refused before they were parsed.", "counter", refused)
    yield single("guard_files_total", "Files looked at.", "counter", status.looked_at)
    yield single("guard_seconds_total", "Time spent looking.", "counter", status.total_ns / 1e9)
