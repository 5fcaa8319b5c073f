"""The base class of the parts: what a section of orthanc.json may add to Orthanc."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from timing import Metric

from ..rest import Route

PREFIX = "orthanc_bundle_"


class Part:
    """One section that is on: its routes, its metrics, and what it does at changes.

    A part overrides what it needs.

    Attributes:
        section: the section's name in orthanc.json.
        needs: functions of the SDK without which the section cannot work. They are looked up in the SDK: its version
            does not tell, because distributions patch it and builds leave functions out.
        lost: for the log where `started` raises: what does not work then.
    """

    section: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    lost: ClassVar[str] = "until the next start what it does beside its callbacks does not work"

    def routes(self) -> list[Route]:
        """The part's routes in Orthanc's REST API."""
        return []

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """Functions that give the part's metrics, by name."""
        return {}

    def changes(self) -> dict[int, Callable[[], None]]:
        """What to do at other changes than start and stop, by the SDK's ChangeType."""
        return {}

    def started(self) -> None:
        """ORTHANC_STARTED: the server answers, and our threads may run."""

    def stopped(self) -> None:
        """ORTHANC_STOPPED: ends the part's threads, because Python is finalized next."""


def single(name: str, text: str, kind: str, value: float) -> Metric:
    """A metric without labels."""
    return Metric(f"{PREFIX}{name}", text, kind, [({}, float(value))])  # type: ignore[arg-type]
