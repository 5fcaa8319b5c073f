"""Deferred deletion: Orthanc's removals are recorded in a ledger and carried out by a worker, file first, row second.

Knows nothing of Orthanc's SDK; the plugin hands it paths and settings and calls the storage area's three methods.
"""

from .audit.online import AuditState
from .errors import (
    DeferredDeleteError,
    JournalError,
    LedgerBusyError,
    LedgerClosedError,
    LedgerError,
    LedgerRefusedError,
    StateError,
    StorageError,
    TakeoverError,
)
from .intake import Intake
from .ledger.deleted_studies import DeletedStudy
from .ledger.ledger import Ledger
from .ledger.place import LEDGER_NAME, ledger_place
from .ledger.restore_progress import RestoreProgress
from .ledger.study_queue import StudyProgress
from .service import DeferredDelete
from .settings import DelayedDeletionSettings, Settings
from .storage.file_storage import FileStorage
from .storage.header_copies import INDEXED_NEWEST_FIRST, HeaderCopy
from .storage_area import DeferredStorageArea
from .studies.deleter import is_orthanc_id
from .studies.image_equality import same_image
from .studies.service import StudyService
from .worker.counters import Outcome
from .worker.status import Status
from .worker.worker import Worker

__all__ = [
    "INDEXED_NEWEST_FIRST",
    "LEDGER_NAME",
    "AuditState",
    "DeferredDelete",
    "DeferredDeleteError",
    "DeferredStorageArea",
    "DelayedDeletionSettings",
    "DeletedStudy",
    "FileStorage",
    "HeaderCopy",
    "Intake",
    "JournalError",
    "Ledger",
    "LedgerBusyError",
    "LedgerClosedError",
    "LedgerError",
    "LedgerRefusedError",
    "Outcome",
    "RestoreProgress",
    "Settings",
    "StateError",
    "Status",
    "StorageError",
    "StudyProgress",
    "StudyService",
    "TakeoverError",
    "Worker",
    "is_orthanc_id",
    "ledger_place",
    "same_image",
]
