"""Opens DeferredDelete's storage area as the configuration says."""

from __future__ import annotations

import logging

from deferred_delete import DeferredDelete

from .. import index
from ..config import Configuration
from ..conflicts import loaded_libraries, storage_conflict
from ..validation import ConfigurationError

logger = logging.getLogger(__name__)


def open_storage_area(configuration: Configuration) -> DeferredDelete:
    """Opens the storage area and its ledger, and takes over what the C++ plugin had pending.

    Raises:
        ConfigurationError: Another plugin has the storage area.
        DeferredDeleteError: The ledger of pending deletions cannot be used.
    """
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
            "deferred deletion: the ledger %s was found there and is used; new ones are made beside Orthanc's index: "
            "it can be moved to %s while Orthanc is stopped",
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
