"""The power is cut under journal, ledger, files and an index: an ext4 file system is stopped and mounted again.

What reached the disk is what ext4 had written by then; its log is replayed at the next mount, as after a real cut. The
index stands for Orthanc's: SQLite, WAL, synchronous NORMAL.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from deferred_delete import LEDGER_NAME, DeferredDelete, Settings
from deferred_delete.ledger import power_loss
from deferred_delete.ledger.unmoved import unmoved
from harness.orthanc_process import BUNDLE
from plugin import index as orthanc_index
from tests.fault.conftest import Ext4Disk

# Makes files, then deletes all of them in the index and in the storage area, as Orthanc does; a line for each.
DELETES = """
import os, sqlite3, sys
from pathlib import Path
from deferred_delete import DeferredDelete, Settings
from deferred_delete.journal import journal
from deferred_delete.worker import upkeep
root, durability, worker, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "worker", int(sys.argv[4])
journal.CAPACITY = 150
upkeep.GATHER_S = 0.01
service = DeferredDelete(root, Settings(grace_period=3600, durability=durability), sync=True)
names = [f"{n % 7:02x}{n % 5:02x}{n:04x}-0000-4000-8000-{n:012x}" for n in range(count)]
for name in names:
    service.area.create(name, 1, b"content")
index = sqlite3.connect(root / "index", isolation_level=None)
index.execute("PRAGMA journal_mode = WAL")
index.execute("PRAGMA synchronous = NORMAL")
index.execute("CREATE TABLE AttachedFiles (id INTEGER, fileType INTEGER, uuid TEXT)")
index.execute("BEGIN")
index.executemany("INSERT INTO AttachedFiles VALUES (1, 1, ?)", [(name,) for name in names])
index.execute("COMMIT")
os.sync()
if worker:
    service.worker.start()
os.write(1, b"ready\\n")
for name in names:
    if not sys.stdin.readline():
        break
    index.execute("DELETE FROM AttachedFiles WHERE uuid = ?", (name,))
    service.area.remove(name, 1)
    os.write(1, f"{name}\\n".encode())
sys.stdin.readline()
"""
COUNT = 600


def in_ledger_and_journal(root: Path) -> tuple[set[str], set[str]]:
    path = root / LEDGER_NAME
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as ledger:
        rows = {row[0] for row in ledger.execute("SELECT attachment_uuid FROM pending")}
        facts = dict(ledger.execute("SELECT name, value FROM facts").fetchall())
    ledger.close()
    return rows, {record.attachment_uuid for record in unmoved(path, facts)}


def cut_after(disk: Ext4Disk, durability: str, worker: str, *, written_back: int, deleted: int) -> list[str]:
    """Deletes so many, writes back after the first ones, cuts the power; returns what was deleted by then."""
    root = disk.folder / "storage"
    command = [sys.executable, "-c", DELETES, str(root), durability, worker, str(COUNT)]
    with subprocess.Popen(command, cwd=BUNDLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        done: list[str] = []
        for number in range(deleted):
            if number == written_back:
                disk.write_back()
            child.stdin.write(b"next\n")
            child.stdin.flush()
            done.append(child.stdout.readline().decode().strip())
        disk.cut()
        child.send_signal(signal.SIGKILL)
        child.wait()
    disk.restart()
    assert all(done)
    return done


@pytest.mark.parametrize("worker", ["worker", "no worker"])
@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize(("written_back", "deleted"), [(0, 1), (0, 70), (40, 500), (333, 599)])
def test_after_a_power_cut_no_deletion_on_the_disk_is_forgotten_and_no_live_file_goes(
    ext4_disk: Ext4Disk,
    monkeypatch: pytest.MonkeyPatch,
    durability: str,
    worker: str,
    *,
    written_back: int,
    deleted: int,
) -> None:
    done = cut_after(ext4_disk, durability, worker, written_back=written_back, deleted=deleted)
    root = ext4_disk.folder / "storage"
    in_ledger, in_journal = in_ledger_and_journal(root)
    found = in_ledger | in_journal
    assert set(done[:written_back]) <= found
    if durability == "power":
        assert set(done) == found
    assert found <= set(done)

    alive = orthanc_index.known(root / "index", done)
    if durability == "power" and deleted > written_back:
        assert alive & found, "the index is as new as the journal: nothing was tested"
    asked: set[str] = set()

    def live_ones(uuids: Sequence[str]) -> Collection[str]:
        asked.update(uuids)
        return orthanc_index.known(root / "index", uuids)

    monkeypatch.setattr(power_loss, "boot_id", lambda: "another boot")
    service = DeferredDelete(root, Settings(grace_period=0), sync=False, live_ones=live_ones)
    assert asked == found, "all of them are younger than two minutes"
    while service.ledger.hasten(2**60):
        pass
    while service.worker.run_once(2**61).claimed:
        pass
    service.close()
    files = {path.name for path in root.glob("??/??/*")}
    assert alive <= files, "a live file was deleted"
    assert not (found - alive) & files, "a deletion was forgotten"
    assert in_ledger_and_journal(root) == (set(), set())


STARTS = """
import os, sys
from pathlib import Path
from deferred_delete import DeferredDelete, Settings
service = DeferredDelete(Path(sys.argv[1]), Settings(grace_period=3600), sync=True)
os.write(1, f"{service.ledger.counts().pending}\\n".encode())
sys.stdin.readline()
"""


def test_a_second_power_cut_right_after_the_next_start_forgets_nothing(ext4_disk: Ext4Disk) -> None:
    """The start has moved what was left into the ledger and removed the segments."""
    done = cut_after(ext4_disk, "power", "no worker", written_back=0, deleted=400)
    root = ext4_disk.folder / "storage"
    assert in_ledger_and_journal(root) == (set(), set(done))
    command = [sys.executable, "-c", STARTS, str(root)]
    with subprocess.Popen(command, cwd=BUNDLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert int(child.stdout.readline()) == len(done)
        ext4_disk.cut()
        child.send_signal(signal.SIGKILL)
        child.wait()
    ext4_disk.restart()
    in_ledger, in_journal = in_ledger_and_journal(root)
    assert in_ledger | in_journal == set(done)
