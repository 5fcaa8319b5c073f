"""What needs Orthanc's REST API: background deletion of studies, their restore, and the audit."""

import threading
from collections.abc import Sequence

from ..audit.online import AuditState, OnlineAudit
from ..ledger.deleted_studies import DeletedStudy
from ..ledger.restore_progress import RestoreProgress
from ..ledger.study_queue import StudyProgress
from ..orthanc_client import OrthancClient, Send
from ..service import DeferredDelete
from .background_thread import BackgroundThread
from .deleter import StudyDeleter
from .header_reader import HeaderReader
from .reimport import Reimport, SameImage
from .restorer import Restorer


class StudyService:
    """Deletes and restores whole studies. Requests are recorded at once; a background thread works through them.

    Args:
        deferred_delete: The storage area, its ledger and its worker.
        send: Makes one request to Orthanc's REST API, on that thread.
        same_image: Compares an original with the instance that Orthanc has changed on a restore.
    """

    def __init__(self, deferred_delete: DeferredDelete, send: Send, same_image: SameImage) -> None:
        self._all = deferred_delete
        self._ledger = deferred_delete.ledger
        self._worker = deferred_delete.worker
        self._background = BackgroundThread("deferred-delete-studies")
        self._orthanc = OrthancClient(send)
        self._same_image = same_image
        self._audit = OnlineAudit(
            deferred_delete.storage,
            deferred_delete.intake,
            self._orthanc,
            headers_left_out=deferred_delete.headers_left_out,
        )
        self._withholding = threading.Lock()

    def start(self) -> None:
        """Continues where the last process ended. Call it before the worker's start, when Orthanc answers requests."""
        self._worker.withhold(True)  # until the thread has read whether a restore is looking for files
        stopped, wait = self._background.stopped, self._background.wait
        restorer = Restorer(
            self._ledger,
            HeaderReader(self._ledger, self._all.storage),
            Reimport(self._all.storage, self._orthanc, self._same_image),
            move_journal=self._all.intake.move_all,
            withhold=self._withhold_while_gathering,
            given_back=self._worker.wake,
            stopped=stopped,
        )
        deleter = StudyDeleter(self._ledger.studies, self._orthanc, stopped, wait)
        self._background.start(
            (restorer.step, deleter.step)
        )  # the worker stays withheld until the restorer's first step

    def stop(self, timeout_s: float) -> bool:
        """Stops after the request under way; False if that takes longer than ``timeout_s`` seconds."""
        self._audit.ask_to_stop()
        return self._background.stop(timeout_s) and self._audit.join(timeout_s)

    def delete(self, orthanc_ids: Sequence[str]) -> int:
        """Queues patients, studies or series; returns how many were not queued before. Raises LedgerError."""
        queued = self._ledger.studies.request(orthanc_ids)
        self._background.wake()
        return queued

    def cancel(self, orthanc_ids: Sequence[str]) -> list[str]:
        """Cancels deletions; returns those that were under way. Raises LedgerError."""
        return [each for each in orthanc_ids if self._ledger.studies.cancel(each)]

    def deletions(self) -> list[StudyProgress]:
        """Deletions under way, and finished ones for a week. Raises LedgerError."""
        return self._ledger.studies.progress()

    def deleted(self) -> list[DeletedStudy]:
        """Studies that can be restored, as far as headers have been read; the call reads on. Raises LedgerError."""
        self._background.wake()
        return self._ledger.deleted_studies.listed()

    def headers_waiting(self) -> bool:
        """Whether headers of some waiting files have not been read yet. Raises LedgerError."""
        return self._all.intake.waiting > 0 or bool(
            self._ledger.deleted_studies.unread(self._ledger.deleted_studies.read_until(), 1)
        )

    def restore(self, study_instance_uid: str) -> bool:
        """Requests a restore; False if one is under way already.

        Nothing is unlinked from now on until the study's files are held.
        """
        new = self._ledger.restores.request(study_instance_uid)
        self._withhold_while_gathering()
        self._background.wake()
        return new

    def cancel_restore(self, study_instance_uid: str) -> bool:
        """Cancels a restore and gives its files back to the worker; False if none is under way.

        Raises:
            LedgerError: It could not be recorded.
        """
        cancelled = self._ledger.restores.cancel(study_instance_uid)
        self._withhold_while_gathering()
        self._worker.wake()
        return cancelled

    def _withhold_while_gathering(self) -> None:
        # Reads and sets under one lock. Otherwise, of two threads, the older answer might be set last.
        with self._withholding:
            self._worker.withhold(self._ledger.restores.gathering)

    def release(self, study_instance_uid: str) -> int:
        """Gives files that a restore could not prove back to the worker; returns how many. Raises LedgerError."""
        released = self._ledger.restores.release(study_instance_uid)
        self._worker.wake()
        return released

    def restores(self) -> list[RestoreProgress]:
        """Restores under way, and finished ones for a week. Raises LedgerError."""
        return self._ledger.restores.progress()

    def start_audit(self) -> bool:
        """Starts an audit of the storage; False if one is under way."""
        return self._audit.start()

    def audit(self) -> AuditState:
        """The audit under way, or the last one since start."""
        return self._audit.state()
