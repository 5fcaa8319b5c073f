"""The audit while Orthanc runs, through its REST API: its SQLite index is locked, and it may use another database.

Every attachment costs a request, so this takes hours where the command line takes minutes. It pauses for ingest. It
reports and changes nothing. Orthanc changes its files meanwhile, so each finding is checked a second time.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from ..errors import DeferredDeleteError, StorageError
from ..intake import Intake
from ..orthanc_client import OrthancClient, OrthancRequestError
from ..request_pacing import RequestPacing
from ..storage.header_copies import HeaderCopy, made_from_image
from ..storage.storage import Storage
from .comparison import Attachment, AuditError, Finding, Report, Verdict, Walk, compare

_log = logging.getLogger(__name__)

_TRIES: Final = 5
_PARENTS: Final = ("patients", "studies", "series")
_SPOOL_CACHE_KIB: Final = 32 * 1024
# As Orthanc's REST API calls content types 3 and 1.
_HEADER_COPY: Final = "/attachments/dicom-until-pixel-data/"
_IMAGE: Final = "/attachments/dicom/"


class AuditState(msgspec.Struct, frozen=True, kw_only=True):
    """An audit as operators see it.

    ``state`` is none, running, done, failed or stopped. Times are seconds since 1970. ``progress`` goes from 0 to 1 in
    each phase.
    """

    state: str
    phase: str = ""
    progress: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    report: Report | None = None


class _StoppedError(Exception):
    """The audit was asked to stop."""


class OnlineAudit:
    """One audit at a time, in a thread of its own; the last result is kept until the process ends.

    Args:
        storage: The files.
        intake: The pending deletions.
        orthanc: The client that lists attachments.
        headers_left_out: Whether the start left header copies for the next one, which then compares all that there are.
    """

    def __init__(
        self, storage: Storage, intake: Intake, orthanc: OrthancClient, *, headers_left_out: bool = False
    ) -> None:
        self._storage = storage
        self._intake = intake
        self._orthanc = orthanc
        self._headers_left_out = headers_left_out
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._state = AuditState(state="none")
        self._pacing = RequestPacing()

    def start(self) -> bool:
        """Starts an audit; False if one is under way."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return False
            self._state = AuditState(state="running", phase="asking Orthanc", started_at=time.time())
            self._thread = threading.Thread(target=self._run, name="deferred-delete-audit", daemon=True)
            self._thread.start()
            return True

    def state(self) -> AuditState:
        """The audit under way, or the last one."""
        return self._state

    def ask_to_stop(self) -> None:
        """Ends the audit after the request in hand."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Waits for the thread; False if that takes longer than ``timeout_s`` seconds."""
        if self._thread is not None:
            self._thread.join(timeout_s)
        return self._thread is None or not self._thread.is_alive()

    def _run(self) -> None:
        try:
            report = self._audit()
            self._now(state="done", phase="", progress=1.0, report=report, ended_at=time.time())
            _log.info(
                "audit: %d orphans, %d missing, %d wrong sizes", report.orphans, report.missing, report.wrong_sizes
            )
        except _StoppedError:
            self._now(state="stopped", ended_at=time.time())
        except (DeferredDeleteError, sqlite3.Error) as error:
            self._now(state="failed", error=str(error), ended_at=time.time())
            _log.warning("audit failed: %s", error)
        except Exception as error:  # noqa: BLE001  a bug, or an Orthanc that answers in another shape: said where one looks
            self._now(state="failed", error=repr(error), ended_at=time.time())
            _log.error("audit failed: %r", error)

    def _now(self, **changes: Any) -> None:
        self._state = msgspec.structs.replace(self._state, **changes)

    def _audit(self) -> Report:
        # "": a private database in a temporary file, beyond its cache; the sort below is SQLite's, in files too.
        with contextlib.closing(sqlite3.connect("")) as spool:
            spool.execute(f"PRAGMA cache_size = -{_SPOOL_CACHE_KIB}")
            spool.execute("PRAGMA temp_store = FILE")
            spool.execute("CREATE TABLE known (uuid TEXT, size_bytes INTEGER, uri TEXT)")
            known = ((each.attachment_uuid, each.size_bytes, each.uri) for each in self._attachments())
            spool.executemany("INSERT INTO known VALUES (?, ?, ?)", known)
            self._now(phase="reading the storage", progress=0.0)
            rows = spool.execute("SELECT uuid, size_bytes, uri FROM known ORDER BY uuid")
            return compare(
                Walk(self._storage.root, self._walked),
                (Attachment(*row) for row in rows),
                waits=self._intake.waits,
                look_again=self._look_again,
                alive_may_wait=True,
            )

    def _walked(self, progress: float) -> None:
        self._now(progress=progress)
        if self._stop.is_set():
            raise _StoppedError

    # What Orthanc knows. The lists are taken once, each in one answer: what is stored later is young when the files are
    # read.

    def _attachments(self) -> Iterator[Attachment]:
        parents = [f"/{level}/{each}" for level in _PARENTS for each in self._ask(f"/{level}") or []]
        for number, uri in enumerate(parents):
            yield from self._attachments_of(uri)
            if uri.startswith("/series/"):
                for instance in (self._ask(uri) or {}).get("Instances", []):
                    yield from self._attachments_of(f"/instances/{instance}")
            self._now(progress=(number + 1) / len(parents))

    def _attachments_of(self, uri: str) -> Iterator[Attachment]:
        for name in self._ask(f"{uri}/attachments") or []:
            information = f"{uri}/attachments/{name}/info"
            if known := self._ask(information):
                yield Attachment(known["Uuid"], int(known["CompressedSize"]), information)

    def _ask(self, uri: str) -> Any:
        """Returns Orthanc's answer, or None if there is no such resource. Retries on errors; pauses after answers."""
        for attempt in range(_TRIES):
            if self._stop.is_set():
                raise _StoppedError
            started = time.monotonic()
            try:
                answer = self._orthanc.ask("GET", uri)
            except OrthancRequestError as error:
                if attempt == _TRIES - 1:
                    raise AuditError(f"asked {_TRIES} times: {error}") from None
                self._stop.wait(2.0**attempt)
                continue
            self._stop.wait(self._pacing.pause_s(time.monotonic() - started))
            return answer.json() if answer.found else None
        return None

    def _look_again(self, finding: Finding, attachment: Attachment | None) -> Verdict:
        """The index first, then memory, then the file; an orphan's ledger was asked before its file."""
        uuid = finding.attachment_uuid
        if attachment is None:
            stays = self._storage.size(uuid) == finding.disk_bytes and not self._intake.waits(uuid)
            return Verdict.FINDING if stays else Verdict.FITS
        known = self._ask(attachment.uri)
        if known is None or known["Uuid"] != uuid:
            return Verdict.FITS
        held = self._storage.holds(uuid)  # asked first: what is let go meanwhile is on the disk by then
        if self._storage.size(uuid) == int(known["CompressedSize"]):
            return Verdict.IN_MEMORY if held else Verdict.FITS
        made_again = self._headers_left_out and self._can_be_made(known, attachment.uri)
        return Verdict.TO_REBUILD if made_again else Verdict.FINDING

    def _can_be_made(self, known: dict[str, Any], uri: str) -> bool:
        """Whether an attachment is a header copy that can be made from its image; Orthanc has compressed neither."""
        image = self._ask(uri.replace(_HEADER_COPY, _IMAGE)) if _HEADER_COPY in uri else None
        if image is None or any(each["CompressedSize"] != each["UncompressedSize"] for each in (known, image)):
            return False
        try:
            made_from_image(self._storage, HeaderCopy(known["Uuid"], image["Uuid"], int(known["UncompressedSize"])))
        except StorageError:
            return False
        return True
