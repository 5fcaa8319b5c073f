"""Header copies are written a moment later, by a thread of their own: in memory until then, and read from there.

A file takes longer to make than a header copy to hold, above all in an archive that is still empty, where each file's
folders are made too: native Orthanc has one file per image, a storage area of a plugin two. What is only in memory when
the process is killed is made again from the images at the next start, as what a power cut took is; see header_copies.py. So
this is for header copies alone, and only where that is certain.
"""

import errno
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from support.rate_limited_log import RateLimitedLog

from ..errors import StorageError
from .file_storage import Deleted, FileStorage
from .layout import check_uuid

_log = logging.getLogger(__name__)

# While instances are being stored the copies wait, but not for longer than this: a power cut's reach (headers.window_s)
# is to stay far larger.
_LONGEST_S: Final = 5.0
# How often the end of a store is looked for.
_LOOK_S: Final = 0.1
_RETRY_S: Final = 1.0
# A deletion waits so long for a write in hand, and is then tried again like any that fails: it may be Orthanc's own
# thread that deletes, holding its index.
_LONGEST_WAIT_S: Final = 1.0
# Beyond either, copies are written at once, as without this. So many files are written within the time that a stop has.
_MOST_BYTES: Final = 64 << 20
_MOST_FILES: Final = 4096


def _never() -> bool:
    return False


def _nobody(_refused: bool) -> None:
    """Nobody wants to know."""


class _Held(NamedTuple):
    content: bytes
    since_s: float


class WriteBehindStorage(FileStorage):
    """A FileStorage that can hold files back. Whoever asks it for one cannot tell whether it is on the disk yet. Safe to use from any thread.

    Args:
        root: As for FileStorage.
        sync: Likewise.
        busy: Whether instances are being stored.
        refused: Told True when the disk takes a file no longer, and False when all are written after all.
        monotonic: Seconds since any fixed moment.
    """

    def __init__(
        self,
        root: Path,
        *,
        sync: bool,
        busy: Callable[[], bool] = _never,
        refused: Callable[[bool], None] = _nobody,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(root, sync=sync)
        self._busy = busy
        self._refused = refused
        self._told_refused = False
        self._failures_in_a_row = 0
        self._monotonic = monotonic
        self._changed = threading.Condition()
        # Next to be written first. Changed under the lock and read without it, as no reader is to wait for it: so a
        # name stays in here until its file is there, or is deleted.
        self._held: OrderedDict[str, _Held] = OrderedDict()
        self._held_bytes = 0
        self._writing: str | None = None
        self._rest_until_s = float("-inf")
        self._failing = False
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._failures = RateLimitedLog()

    @property
    def unwritten(self) -> int:
        """Files that are in memory only."""
        return len(self._held)

    def holds(self, attachment_uuid: str) -> bool:
        """Whether a file is in memory only."""
        with self._changed:  # a copy that the disk refused is taken out and put in again
            return attachment_uuid in self._held

    def start(self) -> None:
        """From now on `create_later` holds files back. Harmless when it does already."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="header copies", daemon=True)
                self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Writes what is held; from now on `create_later` writes at once.

        Returns:
            False if some could not be written. They can be read until the process ends, and not afterwards.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)
        return not self._held

    def create_later(self, attachment_uuid: str, content: bytes) -> None:
        """Takes a new attachment that can be made again after any crash: it is never synced.

        Raises:
            StorageError: As ``create``, where it is not held but written at once: too much is, or the disk refuses
                files.
        """
        check_uuid(attachment_uuid)
        with self._changed:
            if self._may_hold(len(content)) and attachment_uuid not in self._held:
                self._hold(attachment_uuid, content)
                return
        self.create(attachment_uuid, content, sync=False)

    def rewrite(self, attachment_uuid: str, content: bytes) -> None:
        """As FileStorage's; what cannot be written is held all the same, and written once there is room."""
        try:
            super().rewrite(attachment_uuid, content)
        except StorageError:
            with self._changed:
                if self._has_room_for(len(content)):
                    self._hold(attachment_uuid, content)
                    self._told_refused = True  # by what is raised
            raise

    def read(self, attachment_uuid: str) -> bytes:
        """As FileStorage's."""
        held = self._held.get(attachment_uuid)
        return super().read(attachment_uuid) if held is None else held.content

    def head(self, attachment_uuid: str, size_bytes: int) -> tuple[bytes, float]:
        """As FileStorage's; what is held counts as written now."""
        held = self._held.get(attachment_uuid)
        return super().head(attachment_uuid, size_bytes) if held is None else (held.content[:size_bytes], time.time())

    def size(self, attachment_uuid: str) -> int | None:
        """As FileStorage's."""
        held = self._held.get(attachment_uuid)
        return super().size(attachment_uuid) if held is None else len(held.content)

    def delete(self, attachment_uuid: str) -> Deleted:
        """As FileStorage's; what is held is never written.

        Raises:
            StorageError: As FileStorage's, or it is being written, which takes too long.
        """
        with self._changed:
            # Or its file would appear after it was unlinked.
            if not self._changed.wait_for(lambda: self._writing != attachment_uuid, _LONGEST_WAIT_S):
                raise StorageError(
                    f"cannot unlink attachment {self.path_of(attachment_uuid)}: it is still being written"
                )
            held = self._let_go(attachment_uuid)
        deleted = super().delete(attachment_uuid)
        return deleted if held is None else Deleted(existed=True, size_bytes=len(held.content))

    def _may_hold(self, size_bytes: int) -> bool:
        if self._thread is None or self._stopping or self._failing:
            return False
        return self._has_room_for(size_bytes)

    def _has_room_for(self, size_bytes: int) -> bool:
        return self._held_bytes + size_bytes <= _MOST_BYTES and len(self._held) < _MOST_FILES

    def _hold(self, attachment_uuid: str, content: bytes) -> None:
        self._held[attachment_uuid] = _Held(content, self._monotonic())
        self._held_bytes += len(content)
        if len(self._held) == 1:
            self._changed.notify_all()

    def _let_go(self, attachment_uuid: str) -> _Held | None:
        held = self._held.pop(attachment_uuid, None)
        if held is not None:
            self._held_bytes -= len(held.content)
        if not self._held:
            self._failing = False  # nothing is tried again, which would show that the disk takes files after all
        return held

    def _run(self) -> None:
        while (attachment_uuid := self._next()) is not None:
            written = self._write(attachment_uuid, self._held[attachment_uuid].content)
            with self._changed:
                self._writing = None
                self._failing = not written
                if written:
                    self._failures_in_a_row = 0
                    self._let_go(attachment_uuid)
                else:
                    self._failures_in_a_row += 1
                    self._held.move_to_end(attachment_uuid)  # so that the others have their turn
                    self._rest_until_s = self._monotonic() + _RETRY_S
                self._changed.notify_all()
                hopeless = self._stopping and self._failures_in_a_row > len(self._held)
            self._tell(written=written)
            if hopeless:
                _log.error("%d header copies are not written; the next start makes them again", len(self._held))
                return

    def _tell(self, *, written: bool) -> None:
        """Outside the lock, as whoever is told may take time."""
        if not written and not self._told_refused:
            self._told_refused = True
            self._refused(True)
        elif written and self._told_refused and not self._held:
            self._told_refused = False
            self._refused(False)

    def _next(self) -> str | None:
        """Waits until a file is to be written and claims it; None at the end."""
        with self._changed:
            while (pause_s := self._pause_s()) is None or pause_s > 0:
                if self._stopping and not self._held:
                    return None
                self._changed.wait(pause_s)
            self._writing = next(iter(self._held))
            return self._writing

    def _pause_s(self) -> float | None:
        """How long to wait before looking again, in seconds; 0: write now, None: until something is held."""
        if not self._held:
            return None
        if self._stopping:
            return 0.0
        now_s = self._monotonic()
        if now_s < self._rest_until_s:
            return self._rest_until_s - now_s
        oldest = next(iter(self._held.values()))
        if now_s - oldest.since_s >= _LONGEST_S or self._held_bytes > _MOST_BYTES // 2 or not self._busy():
            return 0.0
        return _LOOK_S

    def _write(self, attachment_uuid: str, content: bytes) -> bool:
        try:
            try:
                self.create(attachment_uuid, content, sync=False)
            except StorageError as error:
                if error.errno != errno.EEXIST:
                    raise
                self._delete_file(attachment_uuid)  # what an attempt that failed could not take back
                self.create(attachment_uuid, content, sync=False)
        except Exception as error:  # noqa: BLE001  MemoryError too: without this thread, files stay held and their deletion waits for ever
            if (more := self._failures.allow()) is not None:
                _log.error("header copy kept in memory, and tried again: %s%s", error or type(error).__name__, more)
            return False
        return True
