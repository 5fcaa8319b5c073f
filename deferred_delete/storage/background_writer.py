"""The thread that writes held files once ingest pauses, and what happens when the disk refuses them."""

import enum
import errno
import logging
import threading
from collections.abc import Callable
from typing import Final

from support.rate_limited_log import RateLimitedLog

from ..errors import StorageError
from .file_storage import FileStorage
from .held_files import HeldFiles

_log = logging.getLogger(__name__)

# While instances are being stored, files are held, but not for longer than this. A start after a power cut looks much
# further back (header_copies.window_s).
_MAX_HOLD_S: Final = 5.0
# How often to check whether ingest has paused.
_POLL_S: Final = 0.1
_RETRY_S: Final = 1.0
# How long a deletion waits for a write in progress. Then it fails, and is tried again like any other: it may be
# Orthanc's own thread that deletes, holding its index.
_MAX_DELETION_WAIT_S: Final = 1.0


class Mode(enum.Enum):
    """Whether new files are held. NOT_STARTED -> HOLDING <-> REFUSED -> STOPPING; from any mode to STOPPING."""

    NOT_STARTED = enum.auto()
    HOLDING = enum.auto()
    # The disk refused the last file. New ones are not held: a store must fail as it would without us.
    REFUSED = enum.auto()
    # What is held is written without waiting for a pause; then the thread ends.
    STOPPING = enum.auto()


class BackgroundWriter:
    """Holds files and writes them in one daemon thread. Safe to use from any thread.

    Args:
        files: Where they are written.
        busy: Whether instances are being stored.
        refused: Called with True when the disk begins to refuse files, and with False once all are written.
        monotonic: Seconds since any fixed moment.

    Attributes:
        held: The files that are in memory only.
    """

    def __init__(
        self,
        files: FileStorage,
        busy: Callable[[], bool],
        refused: Callable[[bool], None],
        monotonic: Callable[[], float],
    ) -> None:
        self.held = HeldFiles()
        self._files = files
        self._busy = busy
        self._refused = refused
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._mode = Mode.NOT_STARTED
        self._in_progress: str | None = None
        self._failures_in_a_row = 0
        self._retry_at_s = float("-inf")
        self._refusal_reported = False
        self._thread: threading.Thread | None = None
        self._log_limit = RateLimitedLog()

    def start(self) -> None:
        """From now on files are held. Harmless if it runs already."""
        with self._changed:
            if self._mode is Mode.NOT_STARTED:
                self._mode = Mode.HOLDING
                self._thread = threading.Thread(target=self._run, name="header copies", daemon=True)
                self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Writes what is held; no new file is held. False if some could not be written in time."""
        with self._changed:
            self._mode = Mode.STOPPING
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self.held

    def holds(self, attachment_uuid: str) -> bool:
        """Whether a file is in memory only."""
        with self._changed:
            return attachment_uuid in self.held

    def hold(self, attachment_uuid: str, content: bytes) -> bool:
        """Holds a new file; False if it has to be written at once."""
        with self._changed:
            if (
                self._mode is not Mode.HOLDING
                or not self.held.has_room_for(len(content))
                or attachment_uuid in self.held
            ):
                return False
            self._add(attachment_uuid, content)
            return True

    def hold_refused(self, attachment_uuid: str, content: bytes) -> None:
        """Holds a file that the disk has just refused, in any mode, if there is room.

        ``refused`` is not called for it: the caller raises.
        """
        with self._changed:
            if self.held.has_room_for(len(content)):
                self._add(attachment_uuid, content)
                self._refusal_reported = True

    def withdraw(self, attachment_uuid: str) -> bytes | None:
        """Takes a file out, so that it is never written; None if it was not held.

        Raises:
            StorageError: It is being written, and that takes too long.
        """
        with self._changed:
            # Or its file would appear after it was unlinked.
            if not self._changed.wait_for(lambda: self._in_progress != attachment_uuid, _MAX_DELETION_WAIT_S):
                path = self._files.path_of(attachment_uuid)
                raise StorageError(f"cannot unlink attachment {path}: it is still being written")
            return self._remove(attachment_uuid)

    def _add(self, attachment_uuid: str, content: bytes) -> None:
        self.held.add(attachment_uuid, content, self._monotonic())
        if len(self.held) == 1:
            self._changed.notify_all()

    def _remove(self, attachment_uuid: str) -> bytes | None:
        content = self.held.remove(attachment_uuid)
        # With nothing left to retry, nothing else would show that the disk takes files again.
        if not self.held and self._mode is Mode.REFUSED:
            self._mode = Mode.HOLDING
        return content

    def _run(self) -> None:
        while (claimed := self._next()) is not None:
            attachment_uuid, content = claimed
            written = self._write(attachment_uuid, content)
            with self._changed:
                self._settle(attachment_uuid, written=written)
                give_up = self._mode is Mode.STOPPING and self._failures_in_a_row > len(self.held)
            self._report(written=written)
            if give_up:
                _log.error("%d header copies are not written; the next start makes them again", len(self.held))
                return

    def _next(self) -> tuple[str, bytes] | None:
        """Waits until a file is to be written and claims it; None at the end."""
        with self._changed:
            while (wait_s := self._wait_s()) is None or wait_s > 0:
                if self._mode is Mode.STOPPING and not self.held:
                    return None
                self._changed.wait(wait_s)
            self._in_progress, file = self.held.first()
            return self._in_progress, file.content

    def _wait_s(self) -> float | None:
        """How long to wait before checking again, in seconds; 0: write now, None: until a file is held."""
        if not self.held:
            return None
        if self._mode is Mode.STOPPING:
            return 0.0
        now_s = self._monotonic()
        if now_s < self._retry_at_s:
            return self._retry_at_s - now_s
        _, oldest = self.held.first()
        if now_s - oldest.since_s >= _MAX_HOLD_S or self.held.half_full or not self._busy():
            return 0.0
        return _POLL_S

    def _write(self, attachment_uuid: str, content: bytes) -> bool:
        try:
            try:
                self._files.create(attachment_uuid, content, sync=False)
            except StorageError as error:
                if error.errno != errno.EEXIST:
                    raise
                self._files.delete(attachment_uuid)  # left by an attempt that failed and could not be undone
                self._files.create(attachment_uuid, content, sync=False)
        except Exception as error:  # noqa: BLE001  MemoryError too: this thread has to go on, or files stay held
            if (more := self._log_limit.allow()) is not None:
                _log.error("header copy kept in memory, and tried again: %s%s", error or type(error).__name__, more)
            return False
        return True

    def _settle(self, attachment_uuid: str, *, written: bool) -> None:
        self._in_progress = None
        if self._mode is not Mode.STOPPING:
            self._mode = Mode.HOLDING if written else Mode.REFUSED
        if written:
            self._failures_in_a_row = 0
            self._remove(attachment_uuid)
        else:
            self._failures_in_a_row += 1
            self.held.put_last(attachment_uuid)
            self._retry_at_s = self._monotonic() + _RETRY_S
        self._changed.notify_all()

    def _report(self, *, written: bool) -> None:
        """Outside the lock: the callback may take time."""
        if not written and not self._refusal_reported:
            self._refusal_reported = True
            self._refused(True)
        elif written and self._refusal_reported and not self.held:
            self._refusal_reported = False
            self._refused(False)
