"""Restores deleted studies while their files wait, in three steps.

*Gathering*: the headers of all waiting files are read. Nothing is unlinked meanwhile. The study's files move to the
table `held`, where the worker does not look.

*Importing*: each file goes to Orthanc as a new instance, is read back and compared.

*End*: only now the files that are proven go back to the worker, which unlinks them.

A crash repeats the step it interrupted. Held files stay held. Orthanc answers "AlreadyStored" for what it has, and that
is compared as well. A restore does not wait for background deletions: what it restores is taken off their lists. See
study_states.py for the states.
"""

import logging
from collections.abc import Callable
from typing import Final

from support.backoff import backoff_ms
from support.one_line import one_line
from support.rate_limited_log import RateLimitedLog

from ..ledger.ledger import Ledger
from ..ledger.restore_rows import HeldFile, Restore
from ..ledger.rows import MAX_REASON_CHARS
from ..ledger.study_states import RestoreState
from ..orthanc_client import OrthancRequestError
from .header_reader import HeaderReader
from .reimport import Reimport

_log = logging.getLogger(__name__)

_IMPORTS_AT_ONCE: Final = 8
_RETRY_MIN_S: Final = 1.0
_RETRY_MAX_S: Final = 60.0
# Errors in a row without one success: about an hour of them.
GIVE_UP_AFTER: Final = 60
_WAIT_FOR_CLAIMS_S: Final = 0.02


class Restorer:
    """Works through restores and, when there are none, reads headers. Each ``step`` is short. For one thread.

    Args:
        ledger: Where pending deletions, headers and restores are recorded.
        headers: Reads the headers of waiting files.
        reimport: Gives files back to Orthanc.
        move_journal: Brings all that was deleted until now into the ledger.
        withhold: Pauses the worker while a restore looks for its files, and only then.
        given_back: Called when files went back to the worker.
        stopped: Whether to stop; called before each file.
    """

    def __init__(
        self,
        ledger: Ledger,
        headers: HeaderReader,
        reimport: Reimport,
        *,
        move_journal: Callable[[], None],
        withhold: Callable[[], None],
        given_back: Callable[[], None],
        stopped: Callable[[], bool],
    ) -> None:
        self._ledger = ledger
        self._restores = ledger.restores
        self._headers = headers
        self._reimport = reimport
        self._move_journal = move_journal
        self._withhold = withhold
        self._given_back = given_back
        self._stopped = stopped
        self._begun = False
        # restore_id -> the newest pending_id when its gathering began. Later deletions are not part of the restore.
        self._gather_until: dict[int, int] = {}
        self._log_limit = RateLimitedLog()

    def step(self) -> float | None:
        """Does some work; returns how long there is nothing to do, in seconds. Raises LedgerError."""
        restores = self._restores.under_way()
        self._withhold()
        if not self._begun:
            self._restores.give_back()
            self._headers.begin()
            self._begun = True
        gathering = {each.restore_id: each for each in restores if each.state == RestoreState.GATHERING}
        # SQLite may use a restore_id again once its row is forgotten.
        self._gather_until = {key: until for key, until in self._gather_until.items() if key in gathering}
        if gathering:
            return self._gather(next(iter(gathering.values())))
        now_ms = self._ledger.clock.now_ms()
        for restore in restores:
            if restore.next_attempt_at <= now_ms:
                return self._import_some(restore)
        return min([self._headers.look(), *((each.next_attempt_at - now_ms) / 1000 for each in restores)])

    def _gather(self, restore: Restore) -> float:
        if restore.restore_id not in self._gather_until:
            self._move_journal()
            self._gather_until[restore.restore_id] = self._ledger.newest_id
        until = self._gather_until[restore.restore_id]
        if self._headers.read_towards(until):
            return 0.0
        if not self._restores.hold(restore):
            return _WAIT_FOR_CLAIMS_S  # the worker gives its batch back after the file that it is unlinking
        return 0.0

    def _import_some(self, restore: Restore) -> float:
        batch = self._restores.to_import(restore, _IMPORTS_AT_ONCE)
        if not batch:
            self._end(restore)
        for number, file in enumerate(batch):
            if self._stopped() or not self._restores.importing(restore):
                return 0.0
            try:
                verdict = self._reimport.import_file(file)
            except OrthancRequestError as error:
                self._trouble(restore, restore.attempts + 1 if number == 0 else 1, file, error)
                return 0.0
            if verdict.instance_id:
                self._ledger.studies.take_off(verdict.instance_id)
            self._restores.note(restore, file, verdict)
        return 0.0

    def _trouble(self, restore: Restore, attempts: int, file: HeldFile, error: OrthancRequestError) -> None:
        """Handles an error of Orthanc: all files stay held, and the restore is tried again, up to a limit."""
        if attempts >= GIVE_UP_AFTER:
            self._end(restore, f"gave up after {attempts} attempts in a row: {one_line(error, MAX_REASON_CHARS)}")
            return
        delay_ms = backoff_ms(attempts, _RETRY_MIN_S, _RETRY_MAX_S)
        if (more := self._log_limit.allow()) is not None:
            study = restore.study_instance_uid
            _log.warning("restore of study %s: %s; next in %.0f s%s", study, error, delay_ms / 1000, more)
        self._restores.trouble(restore, file, one_line(error, MAX_REASON_CHARS), delay_ms)

    def _end(self, restore: Restore, gave_up: str | None = None) -> None:
        state = self._restores.end(restore, gave_up)
        self._given_back()
        _log.info("restore of study %s: %s%s", restore.study_instance_uid, state, f", {gave_up}" if gave_up else "")
