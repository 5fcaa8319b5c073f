"""DicomAssociations: starts and stops the association tuner; its route and metrics."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from types import ModuleType

from association import Tuner, TunerStatus, nodelay
from timing import Metric

from .. import rest
from ..config import Configuration
from ..loopback import Loopback
from .modalities import ModalityFollower
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
    lost = "until the next start C-STORE may wait 40 ms twice an instance, or changes of modalities are not seen"

    def __init__(self, sdk: ModuleType, configuration: Configuration, loopback: Loopback | None) -> None:
        settings = configuration.dicom_associations
        assert settings is not None
        self._changes = sdk.ChangeType
        # Now, because the DICOM server starts after the plugins: DCMTK reads the variable for each association.
        logger.info("%s", nodelay.apply(settings, os.environ))
        core = configuration.core
        self.tuner = (
            Tuner(settings, core.dicom_port, configuration.modality_ports) if core.dicom_server_enabled else None
        )
        self._follower: ModalityFollower | None = None
        # Without it only the modalities of orthanc.json are known.
        if self.tuner is not None and loopback is not None and settings.quick_ack and settings.outgoing:
            self._follower = ModalityFollower(loopback, self.tuner.set_modality_ports)

    def started(self) -> None:
        """Starts the watcher."""
        if self.tuner is not None:
            self.tuner.start()
        if self._follower is not None:
            self._follower.start()

    def stopped(self) -> None:
        """Stops the watcher."""
        if self._follower is not None and not self._follower.stop(STOP_DEADLINE_S):
            logger.warning("the thread that asks for modalities did not end within %g s", STOP_DEADLINE_S)
        if self.tuner is not None:
            self.tuner.stop(STOP_DEADLINE_S)

    def changes(self) -> dict[int, Callable[[], None]]:
        """Jobs that open outgoing associations (C-STORE, C-MOVE), and changed modalities."""
        if self.tuner is None:
            return {}
        actions: dict[int, Callable[[], None]] = {
            int(self._changes.JOB_SUBMITTED): self.tuner.outgoing_begins,
            int(self._changes.JOB_SUCCESS): self.tuner.outgoing_ends,
            int(self._changes.JOB_FAILURE): self.tuner.outgoing_ends,
        }
        if self._follower is not None:
            actions[int(self._changes.UPDATED_MODALITIES)] = self._follower.changed
        return actions

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """Metrics of the association watcher."""
        tuner = self.tuner
        return {} if tuner is None else {"associations": lambda: association_metrics(tuner.status())}

    def routes(self) -> list[rest.Route]:
        """The status of the association watcher."""
        tuner = self.tuner
        if tuner is None:
            return []
        return [
            rest.json_route(
                "GET", "/associations/status", "DICOM sockets watched", lambda _: tuner.status(), TunerStatus
            )
        ]


def association_metrics(status: TunerStatus) -> Iterable[Metric]:
    """Metrics of the association watcher."""
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
