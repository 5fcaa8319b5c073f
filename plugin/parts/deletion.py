"""The DeferredDelete section: the storage area, its worker, and their routes and metrics."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from types import ModuleType

import msgspec

from deferred_delete import Status, StudyService, Worker, same_image
from timing import Metric

from .. import index, rest
from ..config import Configuration
from ..loopback import Loopback, refusal
from .deletion_metrics import deletion_metrics
from .deletion_orders import order_routes
from .deletion_storage import open_storage_area
from .deletion_studies import study_routes
from .part import Part, single
from .starting import RepeatedStart, attempt

STOP_DEADLINE_S = 5.0
RETRY_S = (1.0, 5.0, 30.0)
_STUDIES = "background deletion and restore of studies"


class DelayedDeletionStatus(msgspec.Struct, rename="pascal", frozen=True):
    """The status in the C++ plugin's format; the identifier needs an SDK of Orthanc 1.11.1 or later."""

    database_server_identifier: str
    files_pending_deletion: int


class DeletionPart(Part):
    """A storage area whose deletions run in the background.

    Args:
        sdk: the `orthanc` module.
        configuration: with the section.
        loopback: a client of our own REST API; None where our threads cannot ask it, which leaves no background
            deletion of studies and no restore.
        proven: whether an instance that Orthanc gives back is what our own transcoder makes of the original: takes
            the original and the one given back.

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
        self.deferred_delete = open_storage_area(configuration)
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
        """Starts the threads, the worker last. Each is started whether or not the one before it did."""
        attempt(
            self._write_header_copies_later,
            "DeferredDelete: the thread that writes header copies did not start",
            "each is written within its store, and those that wait are written when Orthanc stops",
        )
        if self._studies_start is not None:
            # Nothing may be unlinked until we have read from the ledger whether a restore looks for its files.
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
        """Stops the threads and closes the ledger, which is closed even if a thread raised."""
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
        """Routes for status, orders and whole studies, and the status route of the C++ plugin."""
        worker = self.deferred_delete.worker
        return [
            rest.json_route("GET", "/deferred-delete/status", "pending deletions", lambda _: worker.status(), Status),
            *order_routes(self.deferred_delete),
            rest.json_route(
                "GET",
                "/plugins/delayed-deletion/status",
                "as the C++ DelayedDeletion plugin answers",
                lambda _: self._delayed_deletion_status(worker),
                DelayedDeletionStatus,
            ),
            *study_routes(self.studies, self._cannot_ask),
        ]

    def _delayed_deletion_status(self, worker: Worker) -> DelayedDeletionStatus:
        status = worker.status()
        return DelayedDeletionStatus(self._database_identifier, status.pending + status.claimed + status.failed)
