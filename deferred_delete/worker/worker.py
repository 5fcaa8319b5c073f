"""The thread that drains the ledger when something is due, and sleeps when nothing is."""

import random
import threading
from collections.abc import Callable

from ..intake import Intake
from ..settings import Settings
from ..storage.free_disk import DiskPressure, FreeDisk
from ..storage.storage import Storage
from .alarm import Alarm
from .control import Control
from .counters import Counters, Outcome
from .drainer import Drainer
from .draining import Draining
from .loop import Loop
from .schedule import Schedule
from .status import Status, StatusReader
from .throttle import IngestWatch, Throttle
from .upkeep import Upkeep
from .wait_reason import WaitReason
from .window import DrainWindow


class Worker:
    """Drains a ledger in one daemon thread.

    Args:
        intake: The journal and the ledger; this worker is their only drainer.
        storage: Where the files are.
        settings: Batch size, limits, schedule and retries.
        jitter: From 0 up to, not including, 1.
        schedule: By default that of the settings; likewise ``pressed``, whether the disk is nearly full, and
            ``ingest``, whether instances are being stored.

    Attributes:
        ingest: Is told of each store; the worker slows down meanwhile.
        counters: What it did so far.
    """

    def __init__(
        self,
        intake: Intake,
        storage: Storage,
        settings: Settings,
        *,
        jitter: Callable[[], float] = random.random,
        schedule: Schedule | None = None,
        pressed: DiskPressure | None = None,
        ingest: IngestWatch | None = None,
    ) -> None:
        self.counters = Counters()
        self.ingest = ingest or IngestWatch()
        pressed = pressed or DiskPressure(storage.root, settings.minimum_free_disk_percent)
        self._intake = intake
        self._ledger = ledger = intake.ledger
        self._control = Control(paused=ledger.paused)
        self._alarm = Alarm()
        self._window = DrainWindow(schedule or Schedule(settings.schedule), pressed, ledger)
        throttle = Throttle(settings, self._control.halt.wait, self.ingest, pressed)
        self._drainer = Drainer(
            ledger,
            storage,
            settings,
            self.counters,
            halted=self._halted,
            after_file=throttle.after_file,
            after_batch=throttle.after_batch,
            jitter=jitter,
        )
        waiting = WaitReason()
        draining = Draining(ledger, self._drainer, self._window, waiting)
        upkeep = Upkeep(intake, storage, self._alarm, self.counters, lambda: not self._halted())
        self._loop = Loop(self._control, self._alarm, upkeep, draining, self.counters)
        self._status = StatusReader(
            intake=intake,
            storage=storage,
            settings=settings,
            counters=self.counters,
            control=self._control,
            throttle=throttle,
            waiting=waiting,
            pressed=pressed,
            free_disk=FreeDisk(storage.root),
        )
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Starts the thread. Harmless when it runs already."""
        with self._lock:
            if self._running:
                return
            self._control.stop(False)
            self._thread = threading.Thread(target=self._loop.run, name="deferred-delete", daemon=True)
            self._thread.start()

    def stop(self, timeout_s: float = 1.0) -> bool:
        """Stops the thread after the file in hand and gives the rest of its batch back.

        Returns:
            False if it did not stop in time, stuck in an unlink on a dead disk; its claims are recovered at the next
            start.
        """
        with self._lock:
            self._control.stop(True)
            thread = self._thread
        self._alarm.ring()
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def wake(self) -> None:
        """Wakes the worker."""
        self._alarm.ring()

    def notify(self) -> None:
        """Tells of a new deletion. Cheap: Orthanc's index lock is held."""
        self._alarm.notify()

    def pause(self) -> None:
        """Stops draining after the file in hand, also across restarts. Raises LedgerError.

        Deletions are still recorded.
        """
        self._ledger.paused = True
        self._control.pause(True)
        self._alarm.ring()

    def resume(self) -> None:
        """Drains again. Raises LedgerError."""
        self._ledger.paused = False
        self._control.pause(False)
        self._alarm.ring()

    @property
    def withheld(self) -> bool:
        """Whether files are withheld."""
        return self._control.withheld

    def withhold(self, withheld: bool) -> None:
        """While withheld, nothing is unlinked after the file in hand: a restore is looking for its files.

        Not remembered across restarts.
        """
        if withheld != self._control.withheld:
            self._control.withhold(withheld)
            self._alarm.ring()

    def drain_now(self) -> None:
        """Drains all that waits now, without grace period and schedule, also across restarts. Raises LedgerError."""
        self._intake.move_all()
        self._ledger.order.give()
        self._alarm.ring()

    def retry(self) -> int:
        """Tries what failed again at once; returns how many files. Raises LedgerError."""
        now_ms, files = self._ledger.clock.now_ms(), 0
        while some := self._ledger.retry_failed(now_ms):
            files += some
        self._alarm.ring()
        return files

    def run_once(self, now_ms: int | None = None) -> Outcome:
        """Drains one batch in the calling thread. Not while the worker runs. Raises LedgerError."""
        return self._drainer.run_once(self._ledger.clock.now_ms() if now_ms is None else now_ms)

    def status(self) -> Status:
        """The worker and its ledger now; as fast with ten million rows as with ten. Raises LedgerError."""
        return self._status.read(running=self._running)

    @property
    def _running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _halted(self) -> bool:
        return self._control.halt.is_set() or not self._window.open
