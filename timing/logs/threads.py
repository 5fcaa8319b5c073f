"""What is known of each thread of one Orthanc process while its log is read: the instances that it has begun."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator

from .account import Account
from .events import Kind
from .instance import LoggedInstance

STALE_US = 60_000_000
"""Where the log names no threads, an instance without a line for so long was never stored."""

_MAX_THREADS = 512
_MAX_OPEN = 64


class ThreadState:
    """What is known of one thread, or of the whole process where the log names no threads."""

    __slots__ = ("answering_us", "before", "change", "command_us", "headers_us", "open", "orphan_us")

    def __init__(self) -> None:
        self.open: list[LoggedInstance] = []
        self.headers_us: int | None = None
        self.command_us: int | None = None
        self.answering_us: int | None = None
        self.before: Kind | None = None  # the marker line before
        self.change: tuple[Kind, int] | None = None  # the line before, if it told of a change
        self.orphan_us: int | None = None  # the line before, if it told of an instance whose beginning the log lacks


class Threads:
    """The threads of one process; bounded, and instances that are given up are counted as unfinished.

    Args:
        account: counts what is given up.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._states: OrderedDict[str, ThreadState] = OrderedDict()

    def state(self, thread: str) -> ThreadState:
        """Return the state of `thread`, "" where the log names none; beyond 512 threads the oldest is forgotten."""
        state = self._states.get(thread)
        if state is None:
            state = self._states[thread] = ThreadState()
            if len(self._states) > _MAX_THREADS:
                self._give_up(self._states.popitem(last=False)[1].open)
        return state

    def open_instances(self) -> Iterator[LoggedInstance]:
        """Yield the instances that have begun and not ended, of all threads."""
        for state in self._states.values():
            yield from state.open

    def begin(self, thread: str, state: ThreadState, instance: LoggedInstance) -> None:
        """Note that `thread` has begun an instance."""
        if state.open and thread:
            self.give_up_open(state)  # one thread stores one instance at a time
        elif len(state.open) >= _MAX_OPEN:
            self._give_up([state.open.pop(0)])
        state.open.append(instance)
        if len(state.open) > 1:
            for each in state.open:
                each.overlapped = True

    def give_up_newest(self, state: ThreadState) -> None:
        """Count the instance begun last as unfinished."""
        self._give_up([state.open.pop()])

    def give_up_open(self, state: ThreadState) -> None:
        """Count all instances that a thread has begun as unfinished."""
        self._give_up(state.open)
        state.open = []

    def give_up_stale(self, state: ThreadState, now_us: int) -> None:
        """Count the instances that had no line for STALE_US as unfinished."""
        if state.open and now_us - state.open[0].last_us > STALE_US:
            self._give_up([instance for instance in state.open if now_us - instance.last_us > STALE_US])
            state.open = [instance for instance in state.open if now_us - instance.last_us <= STALE_US]

    def clear(self) -> None:
        """Forget all threads, and count what they have begun as unfinished."""
        self._give_up(self.open_instances())
        self._states.clear()

    def _give_up(self, instances: Iterable[LoggedInstance]) -> None:
        for instance in instances:
            self._account.unfinished[instance.protocol] += 1
