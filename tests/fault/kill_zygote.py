"""Forks a process that stores and deletes, and kills it.

`python -m tests.fault.kill_zygote ROOT SEED KILLS` kills on each line of stdin. Forking spares each of 200
processes the imports, and lets a kill fall also while the ledger is being opened. What was
done is appended to ROOT/done.NUMBER, one file for each life: `stored` and `removed` once the storage area has returned,
`removing` before it is asked. A SIGKILL can cut the last line short, where it crosses a page and the kernel rests
between the two (generic_perform_write): a line counts once it has its end.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from deferred_delete import DeferredDelete, Settings

# A life ends after so many lines of its record at most, and a moment later: in the middle of something, on a slow disk
# as on a fast one.
MOST_LINES = 120
LONGEST_MOMENT_S = 0.005
# So often it is over while the ledger is being opened, or soon after.
EARLY_ONE_IN = 5
LONGEST_EARLY_LIFE_S = 0.03


def live(root: Path, seed: int, number: int) -> None:
    """Stores and removes until killed, while the worker drains."""
    moments = random.Random(f"{seed} {number}")
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


def await_the_axe(root: Path, seed: int, number: int) -> None:
    """Until the moment at which this life ends."""
    axe = random.Random(f"axe {seed} {number}")
    if number % EARLY_ONE_IN == 0:
        time.sleep(axe.uniform(0.0, LONGEST_EARLY_LIFE_S))
        return
    done, lines = root / f"done.{number}", axe.randrange(MOST_LINES)
    while not done.exists() or done.read_bytes().count(b"\n") < lines:
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
        await_the_axe(root, seed, number)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        os.write(1, f"{os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0}\n".encode())


if __name__ == "__main__":
    main()
