"""What every section may add to one Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from timing import Metric

from ..rest import Route

PREFIX = "orthanc_bundle_"


class Part:
    """One section that is on: its routes, its metrics, what it does at changes. A part overrides what it needs.

    Attributes:
        section: the section's name in orthanc.json.
        needs: functions of the SDK without which the section cannot work. Asked of the SDK itself, since distributions
            patch versions and builds leave functions out.
        lost: what an operator is told not to work where `started` raises.
    """

    section: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    lost: ClassVar[str] = "until the next start what it does beside its callbacks does not work"

    def routes(self) -> list[Route]:
        """What the part answers in Orthanc's REST API."""
        return []

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """Sources of the exposition, by name."""
        return {}

    def changes(self) -> dict[int, Callable[[], None]]:
        """What to do at changes other than start and stop, by the number of the change (the SDK's ChangeType)."""
        return {}

    def started(self) -> None:
        """ORTHANC_STARTED: the server answers; threads of ours may run from here on."""

    def stopped(self) -> None:
        """ORTHANC_STOPPED: no thread of ours may outlive this, or Python would be torn down under it."""


def single(name: str, text: str, kind: str, value: float) -> Metric:
    """A metric without labels."""
    return Metric(f"{PREFIX}{name}", text, kind, [({}, float(value))])  # type: ignore[arg-type]
