"""The last 1, 5 and 60 minutes: coarse histograms by time slot, merged when they are read."""

from array import array
from collections import deque
from collections.abc import Mapping
from typing import Final, NamedTuple

from .histograms import Counts, Pending

WINDOWS_MINUTES: Final = (1, 5, 60)
SLOTS: Final = 12
"""Slots of a window, beside the one that is being filled: a window is up to a twelfth longer than its name."""
FOLD_S: Final = 5
"""How often the recorder is to be folded for windows of this precision: the length of the shortest slot."""

Key = tuple[str, str, str]
"""Protocol, client, stage (or "stage.step")."""


class Window(NamedTuple):
    """What happened in the last `minutes`; `seconds` is how long that really was."""

    minutes: int
    seconds: float
    counts: dict[Key, Counts]


class _Packed(NamedTuple):
    """The counts of a slot that is over: 8 bytes a value instead of about 90."""

    values: "array[int]"
    counts: "array[int]"
    sum_ns: int
    max_ns: int

    @classmethod
    def of(cls, counts: Counts) -> "_Packed":
        return cls(array("I", counts.counts.keys()), array("Q", counts.counts.values()), counts.sum_ns, counts.max_ns)


class _Ring:
    """One window. Memory is bounded by keys x slots x values that two significant digits can tell apart."""

    def __init__(self, minutes: int, now_ns: int) -> None:
        self.minutes = minutes
        self._since_ns = now_ns
        self._slot_ns = minutes * 60_000_000_000 // SLOTS
        self._slot = now_ns // self._slot_ns
        self._open: dict[Key, Counts] = {}
        self._closed: deque[tuple[int, dict[Key, _Packed]]] = deque()

    def add(self, key: Key, counts: Counts, now_ns: int) -> None:
        self._close_past_slots(now_ns)
        self._open.setdefault(key, Counts()).merge(counts.counts.items(), counts.sum_ns, counts.max_ns)

    def read(self, now_ns: int) -> Window:
        self._close_past_slots(now_ns)
        merged: dict[Key, Counts] = {}
        for _, slot in self._closed:
            for key, packed in slot.items():
                pairs = zip(packed.values, packed.counts, strict=True)
                merged.setdefault(key, Counts()).merge(pairs, packed.sum_ns, packed.max_ns)
        for key, counts in self._open.items():
            merged.setdefault(key, Counts()).merge(counts.counts.items(), counts.sum_ns, counts.max_ns)
        begin_ns = max(self._since_ns, (self._slot - SLOTS) * self._slot_ns)
        return Window(self.minutes, (now_ns - begin_ns) / 1e9, merged)

    def _close_past_slots(self, now_ns: int) -> None:
        """Close the slot that is over and forget those too old."""
        slot = now_ns // self._slot_ns
        if slot == self._slot:
            return
        if self._open:
            self._closed.append((self._slot, {key: _Packed.of(counts) for key, counts in self._open.items()}))
            self._open = {}
        self._slot = slot
        while self._closed and self._closed[0][0] < slot - SLOTS:
            self._closed.popleft()


class Windows:
    """All windows. Not thread-safe: the fold lock guards it."""

    def __init__(self, now_ns: int) -> None:
        self._rings = [_Ring(minutes, now_ns) for minutes in WINDOWS_MINUTES]

    def add(self, key: Key, counts: Counts, now_ns: int) -> None:
        """Add durations that were recorded since the last fold, to the slot of `now_ns`."""
        for ring in self._rings:
            ring.add(key, counts, now_ns)

    def read(self, now_ns: int) -> list[Window]:
        """Return every window, shortest first."""
        return [ring.read(now_ns) for ring in self._rings]


def over_clients(counts: Mapping[Key, Counts], protocol: str) -> dict[str, Counts]:
    """Return the counts of one protocol by stage, all clients together."""
    merged: dict[str, Counts] = {}
    for (owner, _, stage), entry in counts.items():
        if owner == protocol:
            merged.setdefault(stage, Counts()).merge(entry.counts.items(), entry.sum_ns, entry.max_ns)
    return merged


def by_client(counts: Mapping[Key, Counts], protocol: str) -> dict[str, dict[str, Counts]]:
    """Return the counts of one protocol by client and stage, in the clients' alphabetical order."""
    found: dict[str, dict[str, Counts]] = {}
    for (owner, client, stage), entry in counts.items():
        if owner == protocol:
            found.setdefault(client, {})[stage] = entry
    return dict(sorted(found.items()))


def coarse(pending: Pending) -> Counts:
    """Return what is pending with two significant digits."""
    counts = Counts()
    counts.merge(pending.counts.items(), pending.sum_ns, pending.max_ns)
    return counts
