"""Wires the four cores to Orthanc: what is built, what is registered, what starts and stops."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

from association import Tuner, nodelay
from deferred_delete import DeferredDelete, Worker
from timing import CONTENT_TYPE, Exposition, Recorder
from transcoder import Transcoder

from . import __version__, index, operators_page, rest
from .callbacks import ChangeCallback, IngestCallbacks, StorageCallbacks
from .config import Configuration, ConfigurationError
from .conflicts import loaded_libraries, storage_conflict
from .metrics import association_metrics, deletion_metrics, transcoder_metrics

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 5.0
# What each section needs of the SDK. Asked of the SDK itself, since distributions patch versions and builds leave functions out.
NEEDS = {
    "DeferredDelete": ("RegisterStorageArea", "RegisterOnChangeCallback", "RegisterRestCallback"),
    "IngestTranscoder": ("RegisterReceivedInstanceCallback", "RegisterRestCallback"),
    "StageTiming": ("RegisterReceivedInstanceCallback", "RegisterOnStoredInstanceCallback", "RegisterRestCallback"),
    "DicomAssociations": ("RegisterOnChangeCallback",),
}


class Bundle:
    """Everything that one Orthanc runs of the bundle.

    Args:
        sdk: the `orthanc` module.
        configuration: checked sections; what is None is neither built nor registered.

    Raises:
        ConfigurationError: the SDK lacks what a section needs.
        LedgerError: the ledger of pending deletions cannot be used.
    """

    def __init__(self, sdk: ModuleType, configuration: Configuration) -> None:
        self.sdk = sdk
        self.configuration = configuration
        for section in configuration.enabled:
            missing = [name for name in NEEDS[section] if not hasattr(sdk, name)]
            if missing:
                raise ConfigurationError(
                    f"{section}: this Orthanc's Python plugin has no {', '.join(missing)}: expected a newer orthanc-python"
                )
        self.recorder = Recorder(configuration.stage_timing) if configuration.stage_timing else None
        self.exposition = Exposition(self.recorder) if self.recorder else None
        self.transcoder = Transcoder(configuration.ingest_transcoder) if configuration.ingest_transcoder else None
        self.tuner = self._tuner()
        self.deferred_delete = self._open_deferred_delete()

    def _tuner(self) -> Tuner | None:
        settings = self.configuration.dicom_associations
        if settings is None:
            return None
        # Now, not at ORTHANC_STARTED: DCMTK asks the environment for each association, and the DICOM server starts after the plugins.
        logger.info("%s", nodelay.apply(settings, os.environ))
        core = self.configuration.core
        return (
            Tuner(settings, core.dicom_port, self.configuration.modality_ports) if core.dicom_server_enabled else None
        )

    def _open_deferred_delete(self) -> DeferredDelete | None:
        configuration = self.configuration
        settings = configuration.deferred_delete
        if settings is None:
            return None
        conflict = storage_conflict(configuration.document, loaded_libraries())
        if conflict:
            raise ConfigurationError(conflict)
        sync = configuration.core.sync_storage_area
        opened = DeferredDelete(
            configuration.storage_root,
            settings,
            sync=sync,
            ledger_path=configuration.ledger_path,
            live_ones=index.reader(configuration.index_path),
        )
        for taken in opened.take_over(configuration.delayed_deletion_path):
            logger.warning(
                "took over %d pending deletions of the C++ plugin, kept its database as %s",
                taken.recorded,
                taken.kept_as,
            )
        logger.info(
            "deferred deletion: storage %s, ledger %s, SyncStorageArea %s, GracePeriod %g s",
            configuration.storage_root,
            configuration.ledger_path,
            sync,
            settings.grace_period,
        )
        return opened

    def register(self) -> None:
        """Registers callbacks and routes. With every section off, nothing at all."""
        sdk = self.sdk
        if self.deferred_delete is not None:
            storage = StorageCallbacks(self.deferred_delete.area, self.recorder)
            sdk.RegisterStorageArea(storage.create, storage.read, storage.remove)
        if self.transcoder is not None or self.recorder is not None:
            ingest = IngestCallbacks(sdk, self.transcoder, self.recorder, self.tuner, time.monotonic_ns)
            sdk.RegisterReceivedInstanceCallback(ingest.received)
            if self.recorder is not None:
                sdk.RegisterOnStoredInstanceCallback(ingest.stored)
        if self.deferred_delete is not None or self.tuner is not None:
            sdk.RegisterOnChangeCallback(ChangeCallback(self._changes()))
        rest.register(sdk, self.routes())
        if self.configuration.enabled:
            operators_page.link_from_explorer(sdk)
        self._register_metrics()

    def _changes(self) -> dict[int, Callable[[], None]]:
        changes = self.sdk.ChangeType
        actions: dict[int, Callable[[], None]] = {
            int(changes.ORTHANC_STARTED): self.started,
            int(changes.ORTHANC_STOPPED): self.stopped,
        }
        if self.tuner is not None:
            # A job (C-STORE to a modality, a move) opens associations of its own.
            actions[int(changes.JOB_SUBMITTED)] = self.tuner.outgoing_begins
            actions[int(changes.JOB_SUCCESS)] = actions[int(changes.JOB_FAILURE)] = self.tuner.outgoing_ends
        return actions

    def _register_metrics(self) -> None:
        if self.exposition is None:
            return
        if self.deferred_delete is not None:
            worker = self.deferred_delete.worker
            self.exposition.add_source(lambda: deletion_metrics(worker.status()), name="deletions")
        if self.tuner is not None:
            tuner = self.tuner
            self.exposition.add_source(lambda: association_metrics(tuner.status()), name="associations")
        if self.transcoder is not None:
            transcoder = self.transcoder
            self.exposition.add_source(lambda: transcoder_metrics(transcoder.counters()), name="transcoder")

    def started(self) -> None:
        """ORTHANC_STARTED: the server answers; threads of ours may run from here on."""
        if self.deferred_delete is not None:
            self.deferred_delete.worker.start()
        if self.tuner is not None:
            self.tuner.start()

    def stopped(self) -> None:
        """ORTHANC_STOPPED: no thread of ours may outlive this, or Python would be torn down under it."""
        if self.tuner is not None:
            self.tuner.stop(STOP_DEADLINE_S)
        if self.deferred_delete is not None:
            self.deferred_delete.close(STOP_DEADLINE_S)

    def routes(self) -> list[rest.Route]:
        """What the sections that are on answer."""
        if not self.configuration.enabled:
            return []
        routes = [rest.Route("GET", "/bundle/status", "what is on", self._status), *operators_page.routes()]
        if self.deferred_delete is not None:
            routes += self._deletion_routes(self.deferred_delete.worker)
        if self.transcoder is not None:
            transcoder = self.transcoder
            routes.append(
                rest.Route(
                    "GET", "/transcoder/status", "outcomes by rule", lambda: rest.json_answer(transcoder.counters())
                )
            )
        if self.tuner is not None:
            tuner = self.tuner
            routes.append(
                rest.Route(
                    "GET", "/associations/status", "DICOM sockets watched", lambda: rest.json_answer(tuner.status())
                )
            )
        if self.recorder is not None and self.exposition is not None:
            routes += self._timing_routes(self.recorder, self.exposition)
        return routes

    def _deletion_routes(self, worker: Worker) -> list[rest.Route]:
        def act(action: Any) -> rest.Answer:
            action()
            return rest.json_answer(worker.status())

        return [
            rest.Route(
                "GET", "/deferred-delete/status", "pending deletions", lambda: rest.json_answer(worker.status())
            ),
            rest.Route("POST", "/deferred-delete/pause", "stop deleting, survives restarts", lambda: act(worker.pause)),
            rest.Route("POST", "/deferred-delete/resume", "delete again", lambda: act(worker.resume)),
            rest.Route(
                "GET",
                "/plugins/delayed-deletion/status",
                "as the C++ DelayedDeletion plugin answers",
                lambda: self._delayed_deletion_status(worker),
            ),
        ]

    def _timing_routes(self, recorder: Recorder, exposition: Exposition) -> list[rest.Route]:
        def reset() -> rest.Answer:
            recorder.reset()
            return rest.json_answer({})

        return [
            rest.Route(
                "GET", "/timing/stages", "stages of ingest by protocol", lambda: rest.json_answer(recorder.snapshot())
            ),
            rest.Route(
                "GET", "/timing/slowest", "the slowest recent instances", lambda: rest.json_answer(recorder.slowest())
            ),
            rest.Route(
                "GET", "/timing/metrics", "Prometheus text", lambda: rest.Answer(exposition.render(), CONTENT_TYPE)
            ),
            rest.Route("POST", "/timing/reset", "forget what was measured", reset),
        ]

    def _status(self) -> rest.Answer:
        return rest.json_answer(
            {
                "Version": __version__,
                "Sections": self.configuration.enabled,
                "Routes": [f"{route.method} {route.path}: {route.summary}" for route in self.routes()],
            }
        )

    def _delayed_deletion_status(self, worker: Worker) -> rest.Answer:
        """What monitoring written for the C++ plugin reads; the identifier needs an SDK of Orthanc 1.11.1 or later."""
        identify = getattr(self.sdk, "GetDatabaseServerIdentifier", None)
        status = worker.status()
        return rest.json_answer(
            {
                "DatabaseServerIdentifier": identify() if identify is not None else "",
                "FilesPendingDeletion": status.pending + status.claimed + status.failed + status.unrecorded,
            }
        )
