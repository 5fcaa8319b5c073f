"""What the worker is asked to do: run, pause, leave files alone for a restore, or stop."""

import enum
import threading


class Mode(enum.Enum):
    """What the worker does now. Only RUNNING unlinks files."""

    RUNNING = enum.auto()
    # An operator's order, remembered across restarts.
    PAUSED = enum.auto()
    # A restore is looking for its files. Stale claims are given back meanwhile, as the restore waits for them.
    WITHHELD = enum.auto()
    STOPPING = enum.auto()


class Control:
    """Three requests, each made and taken back on its own, and the mode that follows from them. Any thread.

    Args:
        paused: Whether the ledger remembers a pause.

    Attributes:
        halt: Set in every mode but RUNNING: it cuts the pauses of the throttle short.
    """

    def __init__(self, *, paused: bool) -> None:
        self.halt = threading.Event()
        self._lock = threading.Lock()
        self._stopping = False
        self._paused = paused
        self._withheld = False
        self._update_halt()

    @property
    def mode(self) -> Mode:
        """The mode; of several requests the strongest counts, in this order."""
        if self._stopping:
            return Mode.STOPPING
        if self._withheld:
            return Mode.WITHHELD
        return Mode.PAUSED if self._paused else Mode.RUNNING

    @property
    def paused(self) -> bool:
        """Whether a pause is asked for, whatever the mode."""
        return self._paused

    @property
    def withheld(self) -> bool:
        """Whether files are withheld, whatever the mode."""
        return self._withheld

    def stop(self, asked: bool) -> None:
        """Asks for a stop, or takes that back."""
        with self._lock:
            self._stopping = asked
            self._update_halt()

    def pause(self, asked: bool) -> None:
        """Asks for a pause, or takes that back."""
        with self._lock:
            self._paused = asked
            self._update_halt()

    def withhold(self, asked: bool) -> None:
        """Asks that no file is unlinked, or takes that back."""
        with self._lock:
            self._withheld = asked
            self._update_halt()

    def _update_halt(self) -> None:
        if self.mode is Mode.RUNNING:
            self.halt.clear()
        else:
            self.halt.set()
