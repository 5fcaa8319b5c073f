"""DeferredDelete: the storage area, its worker, and what operators ask of them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from types import ModuleType

from deferred_delete import DeferredDelete, Status, StudyService, Worker, same_image
from timing import Metric

from .. import index, rest
from ..config import Configuration
from ..conflicts import loaded_libraries, storage_conflict
from ..loopback import Loopback, refusal
from ..validation import ConfigurationError
from .deletion_orders import order_routes
from .deletion_studies import study_routes
from .part import PREFIX, Part, single
from .starting import RepeatedStart, attempt

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 5.0
RETRY_S = (1.0, 5.0, 30.0)
_STUDIES = "background deletion and restore of studies"


class DeletionPart(Part):
    """The archive's storage area with deletions in the background.

    Args:
        sdk: the `orthanc` module.
        configuration: with the section.
        loopback: a client of our own REST API; None where our threads cannot ask it, which leaves no background
            deletion of studies and no restore.
        proven: whether an instance that Orthanc gives back is what our own transcoder makes of the original.

    Raises:
        ConfigurationError: another plugin has the storage area.
        DeferredDeleteError: the ledger of pending deletions cannot be used.
    """

    section = "DeferredDelete"
    needs = ("RegisterStorageArea", "RegisterOnChangeCallback", "RegisterRestCallback")
    lost = "until the next start deletions are recorded, and no file is unlinked"

    def __init__(
        self,
        sdk: ModuleType,
        configuration: Configuration,
        loopback: Loopback | None = None,
        proven: Callable[[bytes, bytes], bool] = lambda _original, _stored: False,
    ) -> None:
        # Asked for now: later the call would wait for the core with Python's lock held, which an instance that is being
        # received waits for. Before Orthanc 1.11.1 there is none.
        identify = getattr(sdk, "GetDatabaseServerIdentifier", None)
        self._database_identifier = identify() if identify is not None else ""
        self._index_path = configuration.index_path
        self._cannot_ask = refusal(configuration.core)
        self.deferred_delete = _open(configuration)
        self.studies = (
            StudyService(
                self.deferred_delete,
                loopback.request,
                lambda original, stored: proven(original, stored) or same_image(original, stored),
            )
            if loopback is not None
            else None
        )
        self._studies_start = (
            RepeatedStart(self.studies.start, f"DeferredDelete: {_STUDIES}", RETRY_S) if self.studies else None
        )

    def started(self) -> None:
        """Starts the worker, and before it what may hold files back from it; each whether or not the one before it did."""
        attempt(
            self._write_header_copies_later,
            "DeferredDelete: the thread that writes header copies did not start",
            "each is written within its store, and those that wait are written when Orthanc stops",
        )
        if self._studies_start is not None:
            # Until the ledger has told whether a restore looks for its files, none may go.
            self.deferred_delete.worker.withhold(True)
            attempt(
                self._studies_start.begin,
                f"DeferredDelete: {_STUDIES} did not start",
                "until the next start they are only queued",
            )
        self.deferred_delete.worker.start()

    def _write_header_copies_later(self) -> None:
        self.deferred_delete.storage.start()  # copies that the start could not write wait, whoever serves Orthanc now
        if index.serves_this_process(self._index_path):  # known only now: another database may serve Orthanc
            self.deferred_delete.rely_on_rebuilding()

    def stopped(self) -> None:
        """Stops the threads and closes the ledger, that too whatever raised before."""
        with contextlib.ExitStack() as last_first:
            last_first.callback(self.deferred_delete.close, STOP_DEADLINE_S)
            if self.studies is not None:
                last_first.callback(self.studies.stop, STOP_DEADLINE_S)
            if self._studies_start is not None:
                last_first.callback(self._studies_start.stop, STOP_DEADLINE_S)

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """The ledger and its worker."""
        held = self.deferred_delete.ledger.restores.files_held
        return {
            "deletions": lambda: deletion_metrics(self.deferred_delete.worker.status()),
            "restores": lambda: [single("deletions_held", "Files that a restore holds.", "gauge", held())],
        }

    def routes(self) -> list[rest.Route]:
        """Status, orders, whole studies, and what the C++ plugin answers."""
        worker = self.deferred_delete.worker
        return [
            rest.Route(
                "GET", "/deferred-delete/status", "pending deletions", lambda _: rest.json_answer(worker.status())
            ),
            *order_routes(self.deferred_delete),
            rest.Route(
                "GET",
                "/plugins/delayed-deletion/status",
                "as the C++ DelayedDeletion plugin answers",
                lambda _: self._delayed_deletion_status(worker),
            ),
            *study_routes(self.studies, self._cannot_ask),
        ]

    def _delayed_deletion_status(self, worker: Worker) -> rest.Answer:
        """What monitoring written for the C++ plugin reads; the identifier needs an SDK of Orthanc 1.11.1 or later."""
        status = worker.status()
        return rest.json_answer(
            {
                "DatabaseServerIdentifier": self._database_identifier,
                "FilesPendingDeletion": status.pending + status.claimed + status.failed + status.unrecorded,
            }
        )


def _open(configuration: Configuration) -> DeferredDelete:
    settings = configuration.deferred_delete
    assert settings is not None
    conflict = storage_conflict(configuration.document, loaded_libraries())
    if conflict:
        raise ConfigurationError(conflict)
    sync = configuration.core.sync_storage_area
    ledger_path = configuration.ledger_path
    if not settings.path:
        # IndexDirectory, which Orthanc itself makes only after its plugins have been loaded.
        ledger_path.parent.mkdir(parents=True, exist_ok=True)
    if configuration.keeps_ledger_elsewhere:
        logger.warning(
            "deferred deletion: the ledger %s was found there and is used; new ones are made beside Orthanc's index: it can be moved "
            "to %s while Orthanc is stopped",
            ledger_path,
            configuration.new_ledger_path,
        )
    opened = DeferredDelete(
        configuration.storage_root,
        settings,
        sync=sync,
        ledger_path=ledger_path,
        live_ones=index.reader(configuration.index_path),
        header_copies=index.header_copies(configuration.index_path),
    )
    for taken in opened.take_over(configuration.delayed_deletion_path):
        logger.warning(
            "took over %d pending deletions of the C++ plugin, kept its database as %s", taken.recorded, taken.kept_as
        )
    logger.info(
        "deferred deletion: storage %s, ledger %s, SyncStorageArea %s, GracePeriod %g s",
        configuration.storage_root,
        ledger_path,
        sync,
        settings.grace_period,
    )
    return opened


def deletion_metrics(status: Status) -> Iterable[Metric]:
    """The ledger and its worker."""
    states = {
        "pending": status.pending,
        "claimed": status.claimed,
        "failed": status.failed,
        "unrecorded": status.unrecorded,
    }
    yield Metric(
        f"{PREFIX}deletions_pending",
        "Files that wait for their deletion, by state.",
        "gauge",
        [({"state": k}, v) for k, v in states.items()],
    )
    yield single(
        "deletion_oldest_age_seconds",
        "Age of the oldest pending deletion; 0 with none.",
        "gauge",
        status.oldest_age_s or 0,
    )
    yield single("deletion_paused", "1 while an operator has paused the worker.", "gauge", status.paused)
    yield single(
        "deletion_disk_pressure",
        "1 while less of the storage disk is free than MinimumFreeDiskPercent.",
        "gauge",
        status.disk_pressure,
    )
    if status.free_disk_bytes is not None:
        yield single("deletion_free_disk_bytes", "Room left on the storage disk.", "gauge", status.free_disk_bytes)
    yield Metric(
        f"{PREFIX}deletion_waiting",
        "1 for what keeps the worker from deleting.",
        "gauge",
        [({"reason": status.waiting_for}, 1.0)] if status.waiting_for else [],
    )
    yield single("deletions_total", "Files unlinked since start.", "counter", status.deleted_since_start)
    yield single(
        "deletion_missing_total",
        "Deletions completed since start whose file was gone already.",
        "counter",
        status.missing_since_start,
    )
    yield single(
        "deletion_failures_total",
        "Attempts to unlink since start that failed and will be made again.",
        "counter",
        status.failures_since_start,
    )
    yield single(
        "deletion_freed_bytes_total",
        "Bytes of the files unlinked since start.",
        "counter",
        status.freed_bytes_since_start,
    )
