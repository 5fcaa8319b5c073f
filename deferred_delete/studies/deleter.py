"""Deletes large studies instance by instance, so that Orthanc's index is never locked for long."""

import logging
import re
import time
from collections.abc import Callable
from typing import Final

from support.backoff import backoff_ms
from support.one_line import one_line
from support.rate_limited_log import RateLimitedLog

from ..ledger.rows import MAX_REASON_CHARS
from ..ledger.study_queue import ResourceDeletion, StudyQueue
from ..ledger.study_states import DeletionState
from ..orthanc_client import OrthancClient, OrthancRequestError
from ..request_pacing import RequestPacing

_log = logging.getLogger(__name__)

# Instances deleted before the ledger is updated. After a crash they are requested again.
_INSTANCES_AT_ONCE: Final = 16
_PUT_OFF_MS: Final = 1000
_RETRY_MIN_S: Final = 1.0
_RETRY_MAX_S: Final = 300.0
# Errors in a row without one success: about a day of them.
GIVE_UP_AFTER: Final = 300
_LEVELS: Final = {"patient": "patients", "study": "studies", "series": "series"}
_ORTHANC_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{8}){4}", re.ASCII)


def is_orthanc_id(text: object) -> bool:
    """Whether a text looks like an identifier of Orthanc's: a SHA-1 in five groups of eight hexadecimal digits."""
    return isinstance(text, str) and _ORTHANC_ID.fullmatch(text) is not None


class StudyDeleter:
    """Works through a queue of patients, studies and series; each ``step`` deletes a few instances.

    The list of instances is made when work on a resource begins. Instances that arrive later stay: whoever asked for
    the deletion has not seen them. An instance that no longer exists counts as deleted.

    Args:
        queue: What to delete.
        orthanc: The client of Orthanc's REST API.
        stopped: Whether to stop; called before each instance.
        wait: Waits so many seconds, or less when stopped.
    """

    def __init__(
        self,
        queue: StudyQueue,
        orthanc: OrthancClient,
        stopped: Callable[[], bool],
        wait: Callable[[float], object],
    ) -> None:
        self._queue = queue
        self._orthanc = orthanc
        self._stopped = stopped
        self._wait = wait
        self._pacing = RequestPacing()
        self._log_limit = RateLimitedLog()

    def step(self) -> float | None:
        """Deletes a few instances; returns how long there is nothing to do, in seconds (None: until the next request).

        Raises:
            LedgerError: The ledger could not be read or written.
        """
        deletion = self._queue.next_one()
        if deletion is None:
            return self._queue.next_attempt_in_s()
        try:
            if deletion.state == DeletionState.QUEUED:
                self._start(deletion)
            else:
                self._delete_some(deletion)
        except OrthancRequestError as error:
            self._trouble(deletion, deletion.attempts + 1, error, None)
        return 0.0

    def _start(self, deletion: ResourceDeletion) -> None:
        for level, collection in _LEVELS.items():
            path = f"/{collection}/{deletion.orthanc_id}"
            if self._orthanc.ask("GET", path).found:
                self._start_on(deletion, level, self._instances_of(path))
                return
        self._queue.end(deletion, DeletionState.UNKNOWN)

    def _start_on(self, deletion: ResourceDeletion, level: str, instances: list[str]) -> None:
        if study := self._queue.wanted_back(instances):
            # Both would report success, and one of them would be wrong.
            why = f"waits until the restore of study {study} is over, or cancelled"
            self._queue.put_off(deletion, why, _PUT_OFF_MS)
            return
        self._queue.start(deletion, level, instances)
        _log.info("deleting %s %s in the background", level, deletion.orthanc_id)

    def _instances_of(self, path: str) -> list[str]:
        """Identifiers of the instances below a resource; it may have gone since it was seen."""
        answer = self._orthanc.ask("GET", f"{path}/instances?expand=false")
        if not answer.found:
            return []
        # Orthanc before 1.11 knows no expand=false here and describes each instance.
        return [each if isinstance(each, str) else each["ID"] for each in answer.json()]

    def _delete_some(self, deletion: ResourceDeletion) -> None:
        instances = self._queue.next_instances(deletion, _INSTANCES_AT_ONCE)
        if not instances:
            self._finish(deletion)
            return
        done: list[tuple[str, int]] = []
        for instance in instances:
            if self._stopped() or not self._queue.is_open(deletion.orthanc_id):
                break
            started = time.monotonic()
            try:
                self._orthanc.ask("DELETE", f"/instances/{instance[0]}")
            except OrthancRequestError as error:
                self._queue.remove_instances(deletion, done)
                self._trouble(deletion, 1 if done else deletion.attempts + 1, error, instance)
                return
            done.append(instance)
            self._wait(self._pacing.pause_s(time.monotonic() - started))
        self._queue.remove_instances(deletion, done)

    def _finish(self, deletion: ResourceDeletion) -> None:
        left = len(self._instances_of(f"/{_LEVELS[deletion.level]}/{deletion.orthanc_id}"))
        self._queue.end(deletion, DeletionState.DONE, left)
        _log.info(
            "deleted %d instances of %s %s in the background%s",
            deletion.instances_total,
            deletion.level,
            deletion.orthanc_id,
            f"; {left} arrived meanwhile and stay" if left else "",
        )

    def _trouble(
        self, deletion: ResourceDeletion, attempts: int, error: OrthancRequestError, instance: tuple[str, int] | None
    ) -> None:
        if attempts >= GIVE_UP_AFTER:
            why = f"gave up after {attempts} attempts in a row: {one_line(error, MAX_REASON_CHARS)}"
            self._queue.end(deletion, DeletionState.FAILED, error=why)
            _log.error("deleting %s: %s", deletion.orthanc_id, why)
            return
        delay_ms = backoff_ms(attempts, _RETRY_MIN_S, _RETRY_MAX_S)
        if (more := self._log_limit.allow()) is not None:
            _log.warning("deleting %s: %s; next in %.0f s%s", deletion.orthanc_id, error, delay_ms / 1000, more)
        self._queue.trouble(deletion, one_line(error, MAX_REASON_CHARS), delay_ms, instance)
