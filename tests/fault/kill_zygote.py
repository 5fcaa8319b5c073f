"""Forks a process that stores and deletes, and kills it.

`python -m tests.fault.kill_zygote ROOT SEED KILLS` kills on each line of stdin. Forking spares each of 200
processes the imports, and lets a kill fall also while the ledger is being opened. What was
done is appended to ROOT/done.NUMBER, one file for each life: `stored` and `removed` once the storage area has returned,
`removing` before it is asked. Half of the lives end at a point of the code, drawn from POINTS, if they
come to it: between the journal and the ledger, while a segment is made or removed, while a start records what the last
life left. A SIGKILL can cut the last line short, where it crosses a page and the kernel rests
between the two (generic_perform_write): a line counts once it has its end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deferred_delete import DeferredDelete, Intake, Ledger, LedgerError, Settings
from deferred_delete.journal import journal
from deferred_delete.journal.journal import Journal
from deferred_delete.journal.leftovers import Leftovers
from deferred_delete.worker import upkeep

# A life ends after so many lines of its record at most, and a moment later: in the middle of something, on a slow disk
# as on a fast one.
MOST_LINES = 120
LONGEST_MOMENT_S = 0.005
# So often it is over while the ledger is being opened, or soon after.
EARLY_ONE_IN = 5
LONGEST_EARLY_LIFE_S = 0.03
# Where a life may end by itself, just before or just after the call, and at which call at the latest.
POINTS: tuple[tuple[Any, str, int], ...] = (
    (Ledger, "record", 4),  # at a start, of what was left; then of what is moved
    (Ledger, "sync", 3),
    (Leftovers, "clear", 1),
    (Intake, "move", 4),
    (Intake, "carry_out", 3),
    (Journal, "append", 60),
    (Journal, "prepare", 3),
    (Journal, "retire", 3),
    (journal, "make_segment", 4),
    (Path, "rename", 3),  # of a segment that is whole
    (Path, "unlink", 3),  # of one that was moved, or read by a start
    (os, "posix_fallocate", 3),
)


def end_at_a_point(moments: random.Random) -> None:
    """Lets this process kill itself at one call of one function."""
    owner, name, latest = moments.choice(POINTS)
    calls_left, before = moments.randint(1, latest), moments.random() < 0.5
    real: Callable[..., Any] = getattr(owner, name)

    def called(*arguments: Any, **named: Any) -> Any:
        nonlocal calls_left
        calls_left -= 1
        if before and not calls_left:
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*arguments, **named)
        if not calls_left:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, called)


def refuse_often(moments: random.Random) -> None:
    """Lets the ledger take nothing from the journal most of the time, as on a full disk: files go all the same."""
    record = Ledger.record

    def refuses(self: Ledger, records: Any, position: int) -> None:
        if hasattr(self, "recovered") and moments.random() < 0.7:  # it is open: a start takes what was left
            raise LedgerError("the disk is full")
        record(self, records, position)

    Ledger.record = refuses  # type: ignore[method-assign]


def live(root: Path, seed: int, number: int) -> None:
    """Stores and removes until killed, while the worker drains."""
    moments = random.Random(f"{seed} {number}")
    journal.CAPACITY = moments.choice([5, 40, 16_383])  # type: ignore[misc]
    upkeep.GATHER_S = moments.choice([0.0, 0.003, 0.2])  # type: ignore[misc]
    if moments.random() < 0.2:
        refuse_often(moments)
    if moments.random() < 0.5:
        end_at_a_point(moments)
    settings = Settings(grace_period=0, batch_size=16, workers=moments.choice([1, 4]))
    done = os.open(root / f"done.{number}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    service = DeferredDelete(root / "storage", settings, sync=False)
    service.worker.start()
    kept: list[str] = []
    serial = 0
    while True:
        serial += 1
        attachment = f"{moments.randrange(16):02x}{moments.randrange(4):02x}{number:04x}-0000-4000-8000-{serial:012x}"
        service.area.create(attachment, 1, b"content")
        os.write(done, f"stored {attachment}\n".encode())
        kept.append(attachment)
        if moments.random() < 0.7:
            victim = kept.pop(moments.randrange(len(kept)))
            os.write(done, f"removing {victim}\n".encode())
            service.area.remove(victim, 1)
            os.write(done, f"removed {victim}\n".encode())


def await_the_axe(root: Path, seed: int, number: int, child: int) -> None:
    """Until the moment at which this life ends, if it did not by itself."""
    axe = random.Random(f"axe {seed} {number}")
    if number % EARLY_ONE_IN == 0:
        time.sleep(axe.uniform(0.0, LONGEST_EARLY_LIFE_S))
        return
    done, lines = root / f"done.{number}", axe.randrange(MOST_LINES)
    while not done.exists() or done.read_bytes().count(b"\n") < lines:
        if os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None:
            return
        time.sleep(0.001)
    time.sleep(axe.uniform(0.0, LONGEST_MOMENT_S))


def main() -> None:
    """One life and one kill for each line."""
    root, seed, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    for number in range(kills):
        sys.stdin.readline()
        child = os.fork()
        if not child:
            live(root, seed, number)
        await_the_axe(root, seed, number, child)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.write(1, f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}\n".encode())


if __name__ == "__main__":
    main()
