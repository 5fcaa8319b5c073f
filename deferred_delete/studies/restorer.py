"""Brings deleted studies back, while their files wait.

*Gathering*: the headers of all that waits are read, with the drain at a stand, and the study's files move to the table
`held`, where the worker cannot see them. *Importing*: each goes to Orthanc as a new instance, is read back and
compared. *End*: only now the files of what is proven go back to the worker, which unlinks them. A crash anywhere
repeats the step it was in: what is held stays held, what Orthanc has already it says so and is compared all the same. A
restore waits for no background deletion: it takes what it brings back off their lists. See study_states.py for the states.
"""

import errno
import json
import logging
import time
from collections.abc import Callable
from typing import Final

from support.backoff import backoff_ms
from support.one_line import one_line
from support.rate_limited_log import RateLimitedLog

from ..errors import StorageError
from ..ledger.ledger import Ledger
from ..ledger.restores import Restore, Verdict, Wanted
from ..ledger.rows import MAX_REASON_CHARS
from ..ledger.study_states import RestoreState
from ..orthanc_client import OrthancClient, OrthancRequestError, reason
from ..storage.storage import Storage
from .dicom_header import HEADER_BYTES, Header, NotDicomError, inflate, read_header

_log = logging.getLogger(__name__)

_HEADERS_AT_ONCE: Final = 32
_IMPORTS_AT_ONCE: Final = 8
# Headers are read for a third of the time at most, unless somebody waits for a study.
_REST: Final = 2.0
# How soon a file that was deleted just now shows up in the list. Doubling while nothing is deleted; whoever asks for
# the list makes us look at once.
_LOOK_EVERY_S: Final = 1.0
_LOOK_AT_LEAST_EVERY_S: Final = 60.0
# Enough for nearly every header up to the identifiers; only the others are read further.
_USUAL_HEADER_BYTES: Final = 32 * 1024
_TIDY_EVERY_S: Final = 60.0
# Instances that are remembered for the list of deleted studies; more only if a restore looks for one. About 150 MB.
MOST_REMEMBERED: Final = 500_000
_RETRY_MIN_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0
# Errors in a row without one success: about an hour of them.
GIVE_UP_AFTER: Final = 60
_WAIT_FOR_CLAIMS_S: Final = 0.02

# original, what Orthanc has now -> whether they are the same but for a lossless transcoding
SameImage = Callable[[bytes, bytes], bool]


class Restorer:
    """Reads headers of what waits, and works through restores; ``step`` is a bit of either. For one thread.

    Args:
        ledger: Where pending deletions, headers and restores are.
        storage: Where the files are.
        orthanc: Whom to give instances to.
        same_image: Judges an instance that Orthanc gives back changed.
        withhold: Makes the worker leave everything alone while files are looked for, and only then.
        given_back: Told that files went back to the worker.
        stopped: Asked between two files.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: Storage,
        orthanc: OrthancClient,
        *,
        same_image: SameImage,
        withhold: Callable[[], None],
        given_back: Callable[[], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._restores = ledger.restores
        self._storage = storage
        self._orthanc = orthanc
        self._same_image = same_image
        self._withhold = withhold
        self._given_back = given_back
        self._stopped = stopped
        self._begun = False
        self._read_until = 0
        # restore_id -> the newest deletion when its gathering began: what comes later is no reason to go on looking.
        self._gather_until: dict[int, int] = {}
        self._tidy_at = 0.0
        self._tidy_wanted = True
        self._full = False
        self._look_in_s = _LOOK_EVERY_S
        self._log_limit = RateLimitedLog()

    def step(self) -> float | None:
        """A bit of work; returns how long there is nothing to do, in seconds. Raises LedgerError."""
        restores = self._restores.under_way()
        self._withhold()
        if not self._begun:
            self._restores.give_back()
            self._read_until = self._restores.read_until()
            self._begun = True
        gathering = {each.restore_id: each for each in restores if each.state == RestoreState.GATHERING}
        # An identifier may be used again once its row is forgotten.
        self._gather_until = {key: until for key, until in self._gather_until.items() if key in gathering}
        if gathering:
            return self._gather(next(iter(gathering.values())))
        now_ms = self._ledger.clock.now_ms()
        for restore in restores:
            if restore.next_attempt_at <= now_ms:
                return self._import_some(restore)
        return min([self._look(), *((each.next_attempt_at - now_ms) / 1000 for each in restores)])

    # Reading headers

    def _look(self) -> float:
        """Reads some headers, in passing."""
        if self._tidy_wanted and time.monotonic() >= self._tidy_at:
            self._tidy_wanted = self._restores.forget_gone() or self._restores.remembered() > 1
            self._full = self._restores.remembered() >= MOST_REMEMBERED
            self._tidy_at = time.monotonic() + _TIDY_EVERY_S
        if self._full or self._ledger.newest_id <= self._read_until:
            self._look_in_s = min(self._look_in_s * 2, _LOOK_AT_LEAST_EVERY_S)
            return self._look_in_s  # an idle archive is left in peace
        self._look_in_s = _LOOK_EVERY_S
        started = time.monotonic()
        seen = self._ledger.newest_id
        more = self._read_headers()
        if not more:
            self._read_until = max(self._read_until, seen)  # what is left are no DICOM files
        self._tidy_wanted = True
        return (time.monotonic() - started) * _REST if more else _LOOK_EVERY_S

    def _read_headers(self) -> bool:
        """Reads some headers; whether there were any to read."""
        rows = self._restores.unread(self._read_until, _HEADERS_AT_ONCE)
        self._restores.remember([self._read_one(*row) for row in rows])
        if rows:
            self._read_until = rows[-1][0]
        return bool(rows)

    def _read_one(self, pending_id: int, attachment_uuid: str) -> tuple[int, str, int, Header | None]:
        try:
            size_bytes = self._storage.size(attachment_uuid) or 0
            header = self._header(attachment_uuid, size_bytes)
        except (StorageError, NotDicomError):
            # Gone, or no DICOM: not on the list, and deleted all the same.
            return pending_id, attachment_uuid, 0, None
        return pending_id, attachment_uuid, size_bytes, header

    def _header(self, attachment_uuid: str, size_bytes: int) -> Header:
        """A header, reading as little as possible: whole files would be most of the disk's work while a large study drains."""
        try:
            return read_header(self._storage.head(attachment_uuid, _USUAL_HEADER_BYTES)[0])
        except NotDicomError:
            if size_bytes <= _USUAL_HEADER_BYTES:
                raise
            return read_header(self._storage.head(attachment_uuid, HEADER_BYTES)[0])

    # Restoring

    def _gather(self, restore: Restore) -> float:
        until = self._gather_until.setdefault(restore.restore_id, self._ledger.newest_id)
        if self._read_until < until and self._read_headers():
            return 0.0
        if not self._restores.hold(restore):
            return _WAIT_FOR_CLAIMS_S  # the worker gives its batch back after the file in hand
        return 0.0

    def _import_some(self, restore: Restore) -> float:
        batch = self._restores.to_import(restore, _IMPORTS_AT_ONCE)
        if not batch:
            self._end(restore)
        for number, wanted in enumerate(batch):
            if self._stopped() or not self._restores.importing(restore):
                return 0.0
            try:
                verdict = self._bring_back(wanted)
            except OrthancRequestError as error:
                self._trouble(restore, restore.attempts + 1 if number == 0 else 1, wanted, error)
                return 0.0
            if verdict.instance_id:
                self._ledger.studies.take_off(verdict.instance_id)
            self._restores.note(restore, wanted, verdict)
        return 0.0

    def _trouble(self, restore: Restore, attempts: int, wanted: Wanted, error: OrthancRequestError) -> None:
        """Orthanc itself is unwell: everything stays held, and is tried again, but not for ever."""
        if attempts >= GIVE_UP_AFTER:
            self._end(restore, f"gave up after {attempts} attempts in a row: {one_line(error, MAX_REASON_CHARS)}")
            return
        delay_ms = backoff_ms(attempts, _RETRY_MIN_S, _RETRY_MAX_S)
        if (more := self._log_limit.allow()) is not None:
            study = restore.study_instance_uid
            _log.warning("restore of study %s: %s; next in %.0f s%s", study, error, delay_ms / 1000, more)
        self._restores.trouble(restore, wanted, one_line(error, MAX_REASON_CHARS), delay_ms)

    def _end(self, restore: Restore, gave_up: str | None = None) -> None:
        state = self._restores.end(restore, gave_up)
        self._given_back()
        _log.info("restore of study %s: %s%s", restore.study_instance_uid, state, f", {gave_up}" if gave_up else "")

    def _bring_back(self, wanted: Wanted) -> Verdict:
        """Gives one file to Orthanc and compares what it has then.

        Raises:
            OrthancRequestError: Orthanc could not be asked, or answered 5xx: worth another try.
        """
        try:
            original = inflate(self._storage.read(wanted.attachment_uuid))
        except StorageError as error:
            return (
                Verdict("gone")
                if error.errno == errno.ENOENT
                else Verdict("unreadable", one_line(error, MAX_REASON_CHARS))
            )
        except NotDicomError as error:
            return Verdict("unreadable", one_line(error, MAX_REASON_CHARS))
        answer = self._orthanc.send("POST", "/instances", original)
        if answer.status >= 500:
            raise OrthancRequestError(f"POST /instances: HTTP {answer.status}: {reason(answer.body)}")
        if not 200 <= answer.status < 300:
            return Verdict("refused", f"Orthanc refused it: HTTP {answer.status}: {reason(answer.body)}")
        return self._compare(original, answer.body)

    def _compare(self, original: bytes, answer: bytes) -> Verdict:
        stored = _stored(answer)
        instance_id = stored.get("ID")
        if not instance_id:
            return Verdict("refused", f"Orthanc did not store it: {reason(answer)}")
        file = self._orthanc.ask("GET", f"/instances/{instance_id}/file")
        if not file.found:
            return Verdict("refused", "Orthanc said that it stored it, and does not have it")
        if file.body == original:
            return Verdict("restored", instance_id=instance_id)
        if self._same_image(original, file.body):
            return Verdict("transcoded", instance_id=instance_id)
        if stored.get("Status") == "AlreadyStored":
            return Verdict(
                "differs", "Orthanc has another version of this instance, which is not overwritten (OverwriteInstances)"
            )
        return Verdict("unproven", "Orthanc changed it on its way in, and its images could not be proven equal")


def _stored(answer: bytes) -> dict[str, str]:
    try:
        stored = json.loads(answer)
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
