"""Deferred deletion put together: storage, ledger, worker and storage area of one archive."""

import contextlib
import itertools
import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from . import takeover
from .errors import DeferredDeleteError, LedgerError
from .intake import Intake
from .ledger.ledger import Ledger
from .ledger.place import LEDGER_NAME
from .settings import Settings
from .storage import header_copies as headers
from .storage.file_storage import FileStorage
from .storage.write_behind import WriteBehindStorage
from .storage_area import DeferredStorageArea
from .takeover import Takeover
from .worker.throttle import IngestWatch
from .worker.worker import Worker

_log = logging.getLogger(__name__)

# Of these attachment UUIDs, returns those that Orthanc's index knows.
LiveAttachments = Callable[[Sequence[str]], Collection[str]]
# Returns the header copies that Orthanc's index knows, newest first.
HeaderCopies = Callable[[], Iterable[headers.HeaderCopy]]


class DeferredDelete:
    """Everything that serves one storage folder. Opened before Orthanc starts; the worker runs between start and stop.

    Args:
        storage_root: Orthanc's StorageDirectory, absolute.
        settings: The section, checked.
        sync: Orthanc's SyncStorageArea.
        ledger_path: The ledger's file, absolute; by default LEDGER_NAME in the storage folder.
        live_ones: Asks Orthanc's index, after a power cut only; see power_loss.py. Without it the ledger is trusted.
        header_copies: The same index, after any crash; see header_copies.py. Without it header copies are not rebuilt.

    Attributes:
        headers_left_out: Whether the start left header copies neither written nor held in memory: the disk took none,
            and they were too many.

    Raises:
        StorageError: The storage folder can not be made.
        LedgerError: The ledger was refused or can not be opened.
    """

    def __init__(
        self,
        storage_root: Path,
        settings: Settings,
        *,
        sync: bool,
        ledger_path: Path | None = None,
        live_ones: LiveAttachments | None = None,
        header_copies: HeaderCopies | None = None,
    ) -> None:
        self._sync_headers = settings.sync_headers
        self._grace_ms = settings.grace_ms
        self._headers_in_doubt = False
        self.headers_left_out = False
        ingest = IngestWatch()
        self.storage = WriteBehindStorage(
            FileStorage(storage_root, sync=sync), busy=lambda: ingest.busy, refused=self._note_headers_missing
        )
        self.ledger = Ledger(
            ledger_path or storage_root / LEDGER_NAME,
            busy_timeout_ms=settings.busy_timeout_ms,
        )
        try:
            if self.ledger.power_loss.suspected:
                self._settle_doubt(live_ones)
            doubt = self.ledger.power_loss
            within_s = headers.how_far_back_s(unclean=doubt.unclean, known_missing=doubt.headers_missing)
            if within_s is not None and header_copies is not None:
                self._rebuild_headers(header_copies, within_s)
            self.intake = Intake(self.ledger, settings.grace_ms, settings.durability)
            self.worker = Worker(self.intake, self.storage, settings, ingest=ingest)
        except BaseException:
            self.ledger.close(clean=False)  # the next start has to look, too
            raise
        self.area = DeferredStorageArea(self.intake, self.storage, notify=self.worker.notify, ingest=ingest)

    def take_over(self, configured: Path | None = None) -> list[Takeover]:
        """Takes over what the C++ plugin left, before the worker starts; does nothing the second time.

        Args:
            configured: The Path of the C++ plugin's section, if it has one; otherwise its databases are looked for in
                the storage folder.

        Raises:
            TakeoverError: A database is damaged or in use; those before it are taken over.
            LedgerError: The ledger did not take the rows.
        """
        databases = takeover.find(self.storage.root) if configured is None else [configured]
        return [takeover.take_over(each, self.ledger, self._grace_ms) for each in databases if each.exists()]

    def rely_on_rebuilding(self) -> None:
        """From now on header copies are written later and not synced.

        For when it is certain that the next start finds them in Orthanc's index.
        """
        if not self._sync_headers:
            self.storage.start()
            self.area.write_header = self.storage.create_later

    def close(self, timeout_s: float = 1.0) -> None:
        """Stops the worker and closes the ledger, even if the stop raises.

        What Orthanc removes from now on waits in the journal for the next start.
        """
        try:
            self.worker.stop(timeout_s)
        finally:
            self._close_storage_and_ledger(timeout_s)

    def _close_storage_and_ledger(self, timeout_s: float) -> None:
        self.area.write_header = None
        whole = False
        try:
            whole = self.storage.stop(timeout_s)
            if not whole:
                self._note_headers_missing(True)
            if not self.intake.close(timeout_s):
                _log.warning("%d deletions wait in the journal for the next start", self.intake.waiting)
        except DeferredDeleteError as error:
            _log.error("what waits in the journal is left for the next start: %s", error)
        finally:
            self.ledger.close(clean=whole and not self._headers_in_doubt)  # else the next start looks again

    def _rebuild_headers(self, header_copies: HeaderCopies, within_s: float) -> None:
        known_missing = self.ledger.power_loss.headers_missing
        compared, rebuilt, hopeless, unwritten = headers.rebuild(self.storage, header_copies(), within_s)
        self._headers_in_doubt = hopeless + unwritten > 0
        self.headers_left_out = unwritten > self.storage.unwritten
        if known_missing or unwritten:
            self._note_headers_missing(unwritten > 0)
        if rebuilt or hopeless or unwritten:
            _log.warning(
                "Orthanc ended without a proper stop: of the %d newest header copies %d were torn or missing and are "
                "written anew, %d could not be checked, %d could not be written",
                compared,
                rebuilt,
                hopeless,
                unwritten,
            )

    def _note_headers_missing(self, missing: bool) -> None:
        missing = missing or self.headers_left_out  # those are written by the next start alone
        with contextlib.suppress(LedgerError):  # a full disk, as a rule; a stop leaves the ledger unclean all the same
            self.ledger.power_loss.note_headers_missing(missing=missing)

    def _settle_doubt(self, live_ones: LiveAttachments | None) -> None:
        doubt = self.ledger.power_loss
        if live_ones is None:
            _log.warning("the machine went down while Orthanc ran, and nobody can say which deletions Orthanc forgot")
        else:
            suspects = withdrawn = 0
            held = self.ledger.restores.held_attachments()
            for batch in itertools.chain(doubt.suspects(), [held] if held else []):
                suspects += len(batch)
                withdrawn += self.ledger.withdraw(list(live_ones(batch)))
            _log.warning(
                "the machine went down while Orthanc ran: of %d deletions then in the air %d are withdrawn, "
                "because Orthanc knows the attachments again",
                suspects,
                withdrawn,
            )
        doubt.trust()
