"""Deferred deletion: Orthanc's removals are recorded in a ledger and carried out by a worker, file first, row second.

Knows nothing of Orthanc's SDK; the plugin hands it paths and settings and calls the storage area's three methods.
"""

from .area import DeferredStorageArea
from .errors import (
    DeferredDeleteError,
    LedgerBusyError,
    LedgerClosedError,
    LedgerError,
    LedgerRefusedError,
    StateError,
    StorageError,
    TakeoverError,
)
from .headers import INDEXED_NEWEST_FIRST, HeaderCopy
from .ledger import Ledger
from .ledger_place import LEDGER_NAME, ledger_place
from .likeness import same_image
from .service import DeferredDelete
from .settings import DelayedDeletionSettings, Settings
from .storage import FileStorage
from .study_deleter import is_orthanc_id
from .study_service import StudyService
from .tally import Outcome, Status
from .worker import Worker

__all__ = [
    "INDEXED_NEWEST_FIRST",
    "LEDGER_NAME",
    "DeferredDelete",
    "DeferredDeleteError",
    "DeferredStorageArea",
    "DelayedDeletionSettings",
    "FileStorage",
    "HeaderCopy",
    "Ledger",
    "LedgerBusyError",
    "LedgerClosedError",
    "LedgerError",
    "LedgerRefusedError",
    "Outcome",
    "Settings",
    "StateError",
    "Status",
    "StorageError",
    "StudyService",
    "TakeoverError",
    "Worker",
    "is_orthanc_id",
    "ledger_place",
    "same_image",
]
