"""DicomAssociations: the tuner of DICOM sockets, and what operators see of it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from types import ModuleType

from association import Tuner, TunerStatus, nodelay
from timing import Metric

from .. import rest
from ..config import Configuration
from .part import PREFIX, Part, single

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 5.0


class AssociationsPart(Part):
    """The association tuner; with the DICOM server off, TCP_NODELAY for outgoing associations alone.

    Attributes:
        tuner: None where Orthanc has no DICOM server.
    """

    section = "DicomAssociations"
    needs = ("RegisterOnChangeCallback",)

    def __init__(self, sdk: ModuleType, configuration: Configuration) -> None:
        settings = configuration.dicom_associations
        assert settings is not None
        self._changes = sdk.ChangeType
        # Now, not at ORTHANC_STARTED: DCMTK asks the environment for each association, and the DICOM server starts after the plugins.
        logger.info("%s", nodelay.apply(settings, os.environ))
        core = configuration.core
        self.tuner = (
            Tuner(settings, core.dicom_port, configuration.modality_ports) if core.dicom_server_enabled else None
        )

    def started(self) -> None:
        """Starts the watcher."""
        if self.tuner is not None:
            self.tuner.start()

    def stopped(self) -> None:
        """Stops the watcher."""
        if self.tuner is not None:
            self.tuner.stop(STOP_DEADLINE_S)

    def changes(self) -> dict[int, Callable[[], None]]:
        """A job (C-STORE to a modality, a move) opens associations of its own."""
        if self.tuner is None:
            return {}
        return {
            int(self._changes.JOB_SUBMITTED): self.tuner.outgoing_begins,
            int(self._changes.JOB_SUCCESS): self.tuner.outgoing_ends,
            int(self._changes.JOB_FAILURE): self.tuner.outgoing_ends,
        }

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """The watcher of DICOM connections."""
        tuner = self.tuner
        return {} if tuner is None else {"associations": lambda: association_metrics(tuner.status())}

    def routes(self) -> list[rest.Route]:
        """What is watched."""
        tuner = self.tuner
        if tuner is None:
            return []
        return [
            rest.Route(
                "GET", "/associations/status", "DICOM sockets watched", lambda _: rest.json_answer(tuner.status())
            )
        ]


def association_metrics(status: TunerStatus) -> Iterable[Metric]:
    """The watcher of DICOM connections."""
    open_now = [
        ({"direction": "incoming"}, status.open_associations),
        ({"direction": "outgoing"}, status.open_outgoing),
    ]
    yield Metric(f"{PREFIX}associations_open", "DICOM connections that are watched now.", "gauge", open_now)
    yield single("associations_watched", "1 while the watcher runs.", "gauge", status.running)
    yield single(
        "associations_seen_total", "DICOM connections watched since start.", "counter", status.associations_seen
    )
    yield single(
        "associations_acks_forced_total",
        "Acknowledgements that would have waited up to 40 ms.",
        "counter",
        status.acks_forced,
    )
    yield single("associations_wake_ups_total", "Times the watcher woke up.", "counter", status.wake_ups)
    yield single("associations_cpu_seconds_total", "CPU time of the watcher.", "counter", status.cpu_seconds)
