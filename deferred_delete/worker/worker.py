"""The thread that drains the ledger when something is due, and sleeps when nothing is."""

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Final

from support.backoff import backoff_ms
from support.rate_limited_log import RateLimitedLog

from ..errors import DeferredDeleteError, LedgerClosedError
from ..ledger.ledger import Ledger
from ..settings import Settings
from ..storage.file_storage import FileStorage
from ..storage.free_disk import LOOK_EVERY_S, DiskPressure, FreeDisk
from .backlog import Backlog
from .counters import Counters, Outcome, Status
from .drainer import Drainer
from .schedule import Schedule
from .throttle import IngestWatch, Throttle
from .upkeep import Upkeep
from .wait_reason import WaitReason, estimate_s

_log = logging.getLogger(__name__)

# After trouble with the ledger, or a disk that takes no unlink at all: rest this long, doubling, in seconds.
_TROUBLE_MIN_S: Final = 0.1
_TROUBLE_MAX_S: Final = 30.0
# Nothing due for longer than this: look again all the same.
_LONGEST_SLEEP_S: Final = 3600.0
# While the schedule is closed and something is due: look at the local clock this often.
_LOCAL_CLOCK_S: Final = 900.0
_ALWAYS: Final = float("inf")
_NOT_FOR_ENQUEUES: Final = float("-inf")


class Worker:
    """Drains a ledger in one daemon thread.

    Args:
        ledger: Where the deletions are; this worker is its only drainer.
        storage: Where the files are.
        settings: Batch size, limits, schedule and retries.
        backlog: Deletions that could not be recorded; the worker records or unlinks them when it can.
        jitter: From 0 up to, not including, 1.
        schedule: By default that of the settings; likewise ``pressed``, whether the disk is nearly full, and
            ``ingest``, whether instances are being stored.

    Attributes:
        ingest: To be told of each store; the worker steps back meanwhile.
        counters: What it did so far.
    """

    def __init__(
        self,
        ledger: Ledger,
        storage: FileStorage,
        settings: Settings,
        backlog: Backlog,
        *,
        jitter: Callable[[], float] = random.random,
        schedule: Schedule | None = None,
        pressed: DiskPressure | None = None,
        ingest: IngestWatch | None = None,
    ) -> None:
        self._ledger = ledger
        self._storage = storage
        self._backlog = backlog
        self.counters = Counters()
        self.ingest = ingest or IngestWatch()
        self._settings = settings
        self._schedule = schedule or Schedule(settings.schedule)
        self._pressed = pressed or DiskPressure(storage.root, settings.minimum_free_disk_percent)
        self._free_disk = FreeDisk(storage.root)
        self._waiting = WaitReason()
        self._halt = threading.Event()
        self._throttle = Throttle(settings, self._halt.wait, self.ingest, self._pressed)
        self._drainer = Drainer(
            ledger,
            storage,
            settings,
            self.counters,
            halted=self._is_halted,
            after_file=self._throttle.after_file,
            after_batch=self._throttle.after_batch,
            jitter=jitter,
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._wakeup = threading.Event()
        self._stopping = False
        self._paused = ledger.paused
        self._withheld = False
        self._alarm_ms = _ALWAYS
        self._upkeep = Upkeep(ledger, storage, backlog, self.counters)
        self._troubles = 0
        self._rest_until = 0.0
        self._log_limit = RateLimitedLog()

    def start(self) -> None:
        """Starts the thread. Harmless when it runs already."""
        with self._lock:
            if self._thread is not None and self._thread.is_alive():
                return
            self._stopping = False
            self._set_halt()
            self._thread = threading.Thread(target=self._run, name="deferred-delete", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stops the thread after the file in hand and gives the rest of its batch back.

        Returns:
            False if it did not stop in time, stuck in an unlink on a dead disk; its claims are recovered at the next
            start.
        """
        with self._lock:
            self._stopping = True
            self._set_halt()
            thread = self._thread
        self._wakeup.set()
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def wake(self) -> None:
        """Makes the worker look at once."""
        self._wakeup.set()

    def notify(self, due_ms: int) -> None:
        """Tells of a deletion due at ``due_ms`` (0: of one in the backlog). Cheap: Orthanc's index lock is held.

        Wakes the worker only if it would oversleep.
        """
        wanted = due_ms < self._alarm_ms or due_ms == 0 or (self._upkeep.rings_for_log and self._ledger.checkpoint_due)
        if wanted and not self._wakeup.is_set():
            self._wakeup.set()

    def pause(self) -> None:
        """Stops draining after the file in hand, also across restarts. Deletions are still recorded. Raises LedgerError."""
        self._ledger.paused = True
        self._set_paused(True)

    def resume(self) -> None:
        """Drains again. Raises LedgerError."""
        self._ledger.paused = False
        self._set_paused(False)

    def drain_now(self) -> None:
        """Lets everything that waits now go without its grace period and outside the schedule, also across restarts. Raises LedgerError."""
        self._ledger.order.give()
        with self._lock:
            self._set_halt()
        self._wakeup.set()

    def retry(self) -> int:
        """Tries what failed again at once; returns how many files. Raises LedgerError."""
        now_ms, files = self._ledger.clock.now_ms(), 0
        while some := self._ledger.retry_failed(now_ms):
            files += some
        self._wakeup.set()
        return files

    def run_once(self, now_ms: int | None = None) -> Outcome:
        """Drains one batch in the calling thread. Not while the worker runs. Raises LedgerError."""
        return self._drainer.run_once(self._ledger.clock.now_ms() if now_ms is None else now_ms)

    def status(self) -> Status:
        """How things stand; as fast with ten million rows as with ten. Raises LedgerError."""
        counts, oldest = self._ledger.counts(), self._ledger.oldest()
        counters = self.counters
        running = self._thread is not None and self._thread.is_alive()
        waiting_for, waiting_until = self._waiting.told(
            counts, paused=self._paused, withheld=self._withheld, running=running
        )
        return Status(
            running=running,
            paused=self._paused,
            pending=counts.pending,
            claimed=counts.claimed,
            failed=counts.failed,
            unrecorded=len(self._backlog),
            oldest_age_s=None if oldest is None else max(0, self._ledger.clock.now_ms() - oldest) / 1000,
            waiting_for=waiting_for,
            waiting_until=waiting_until,
            left_s=estimate_s(counts.total, counters.files_per_second(), self._settings),
            draining_now=self._ledger.order.active,
            disk_pressure=self._pressed(),
            free_disk_bytes=self._free_disk(),
            unwritten_header_copies=self._storage.unwritten,
            yielding_to_ingest=self._throttle.yielding and self.ingest.busy and counts.claimed > 0,
            deleted_since_start=counters.deleted,
            missing_since_start=counters.missing,
            failures_since_start=counters.failures,
            freed_bytes_since_start=counters.freed_bytes,
            files_per_second=counters.files_per_second(),
            last_error=counters.last_error,
        )

    def _run(self) -> None:
        while not self._stopping:
            # Cleared before anything is looked at: what happens from here on sets it again and cuts the sleep below
            # short.
            self._wakeup.clear()
            if not self._stop_asked():
                self._wakeup.wait(self._cycle_safely())
        self._upkeep.last_try()

    def _stop_asked(self) -> bool:
        return self._stopping

    def _cycle_safely(self) -> float:
        """One cycle, whatever happens; returns how long to sleep, in seconds."""
        try:
            sleep_s = self._cycle()
        except LedgerClosedError:  # never opened again: nothing is left to do
            self._stopping = True
            return 0.0
        except Exception as error:  # noqa: BLE001  the thread outlives everything: without it nothing is ever deleted
            self._alarm_ms = _NOT_FOR_ENQUEUES
            self.counters.last_error = str(error) or repr(error)
            expected = isinstance(error, DeferredDeleteError)
            sleep_s = self._rest()
            if (more := self._log_limit.allow()) is not None:
                _log.error("worker goes on in %.1f s after: %s%s", sleep_s, error, more, exc_info=not expected)
            return sleep_s
        return min(sleep_s, _LONGEST_SLEEP_S)

    def _cycle(self) -> float:
        # From here on every enqueue rings. Set before asking for the next due time: a row recorded after the question
        # would otherwise be slept through.
        self._alarm_ms = _ALWAYS
        sleep_s = self._upkeep.do()
        if self._withheld:
            self._drainer.recover()  # a restore waits for what a batch that ended in an error still holds
        if self._paused or self._withheld:
            self._alarm_ms = _NOT_FOR_ENQUEUES
            return sleep_s
        return min(sleep_s, self._drain())

    def _drain(self) -> float:
        """One batch, unless resting or nothing is due; returns how long until the next, in seconds."""
        resting_s = self._rest_until - time.monotonic()
        if resting_s > 0:
            self._alarm_ms = _NOT_FOR_ENQUEUES
            return resting_s
        self._drainer.recover()
        due_ms = self._ledger.next_due()
        now_ms = self._ledger.clock.now_ms()
        if (due_ms is None or due_ms > now_ms) and self._ledger.order.active and self._ledger.order.hasten(now_ms):
            return 0.0
        if due_ms is None or due_ms > now_ms:
            self._troubles = 0
            self._alarm_ms = _ALWAYS if due_ms is None else due_ms
            self._waiting.due(None if due_ms is None else (due_ms - now_ms) / 1000)
            return _ALWAYS if due_ms is None else (due_ms - now_ms) / 1000
        closed_s = self._closed_s()
        if closed_s > 0:
            self._alarm_ms = _NOT_FOR_ENQUEUES
            return closed_s
        self._waiting.over()
        outcome = self._drainer.run_once(now_ms)
        if outcome.all_failed:
            return self._rest()
        self._troubles = 0
        return 0.0

    def _closed_s(self) -> float:
        """0 if the schedule, or a disk that is nearly full, lets deletions run; otherwise when to look again, in seconds."""
        if self._may_run():
            return 0.0
        opens_s = self._schedule.opens_in_s()
        self._waiting.on("schedule", opens_s)
        # Looked at again now and then: the local clock may be set, and the disk may fill up.
        return min(opens_s or _LOCAL_CLOCK_S, LOOK_EVERY_S if self._pressed.watched else _LOCAL_CLOCK_S)

    def _rest(self) -> float:
        """Something bigger than one file is wrong: leaves everything alone for a while, longer each time."""
        self._troubles += 1
        rest_s = backoff_ms(self._troubles, _TROUBLE_MIN_S, _TROUBLE_MAX_S) / 1000
        self._rest_until = time.monotonic() + rest_s
        self._waiting.on("trouble", rest_s)
        return rest_s

    def _is_halted(self) -> bool:
        return self._stopping or self._paused or self._withheld or not self._may_run()

    def _may_run(self) -> bool:
        # The disk is asked first, so that its pressure is noticed and told without a schedule too.
        return self._pressed() or self._ledger.order.active or self._schedule.open

    def withhold(self, withheld: bool) -> None:
        """While withheld nothing is unlinked after the file in hand: a restore is looking for its files. Not remembered."""
        if withheld == self._withheld:
            return
        with self._lock:
            self._withheld = withheld
            self._set_halt()
        self._wakeup.set()

    def _set_paused(self, paused: bool) -> None:
        with self._lock:
            self._paused = paused
            self._set_halt()
        self._wakeup.set()

    def _set_halt(self) -> None:
        """Keeps the event that cuts the throttle short in step with the two flags."""
        if self._stopping or self._paused or self._withheld:
            self._halt.set()
        else:
            self._halt.clear()
