"""200 SIGKILLs, seeded, of ledger, worker and storage at work.

After each, no accepted deletion is forgotten and no live file is gone.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deferred_delete import LEDGER_NAME, DeferredDelete, Settings
from deferred_delete.ledger.unmoved import unmoved
from harness.orthanc_process import BUNDLE

KILLS_PER_SEED = 20


def on_disk(root: Path) -> set[str]:
    return {path.name for path in (root / "storage").glob("??/??/*-*-*-*-*")}


def recorded(root: Path) -> tuple[set[str], set[str]]:
    """The deletions in the ledger, and those in its journal only."""
    path = root / "storage" / LEDGER_NAME
    if not path.exists():  # killed before it was made
        return set(), set()
    # Only to look: the log is left for the next life to recover.
    with contextlib.closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=5)) as ledger:
        rows = {row[0] for row in ledger.execute("SELECT attachment_uuid FROM pending")}
        facts = dict(ledger.execute("SELECT name, value FROM facts").fetchall())
    return rows, {record.attachment_uuid for record in unmoved(path, facts)}


def check(root: Path) -> tuple[int, int, int]:
    """Holds the archive against what was done.

    Returns:
        How many files are live, how many deletions were accepted, and how many are in the journal.
    """
    done: dict[str, set[str]] = {"stored": set(), "removing": set(), "removed": set()}
    for path in root.glob("done.*"):
        whole, _, _ = path.read_text().rpartition("\n")
        for line in whole.splitlines():
            what, attachment = line.split()
            done[what].add(attachment)
    files, (in_ledger, in_journal) = on_disk(root), recorded(root)
    rows = in_ledger | in_journal
    alive = done["stored"] - done["removing"]
    assert not alive - files, f"live files are gone: {sorted(alive - files)}"
    assert not alive & rows, "a live file is to be deleted"
    assert not (done["removed"] & files) - rows, "an accepted deletion is forgotten"
    return len(alive), len(done["removed"]), len(in_journal)


@pytest.mark.parametrize("seed", range(200 // KILLS_PER_SEED))
def test_no_kill_forgets_a_deletion_or_takes_a_live_file(tmp_path: Path, seed: int) -> None:
    command = [sys.executable, "-m", "tests.fault.kill_zygote", str(tmp_path), str(seed), str(KILLS_PER_SEED)]
    with subprocess.Popen(command, cwd=BUNDLE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as zygote:
        assert zygote.stdin is not None
        assert zygote.stdout is not None
        kills_with_a_journal = 0
        for number in range(KILLS_PER_SEED):
            zygote.stdin.write(b"\n")
            zygote.stdin.flush()
            assert int(zygote.stdout.readline()) == signal.SIGKILL, f"seed {seed}: life {number} ended by itself"
            try:
                alive, removed, in_journal = check(tmp_path)
                kills_with_a_journal += in_journal > 0
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, kill {number}: {error}") from error
    assert alive > 20, f"seed {seed}: hardly anything was stored: nothing was tested"
    assert removed > 20, f"seed {seed}: hardly anything was removed: nothing was tested"
    assert kills_with_a_journal > 5, f"seed {seed}: hardly any kill came between the journal and the ledger"
    service = DeferredDelete(tmp_path / "storage", Settings(grace_period=0), sync=False)
    while service.worker.run_once().claimed:
        pass
    service.close()
    assert recorded(tmp_path) == (set(), set())
    check(tmp_path)
    assert len(list((tmp_path / "storage" / f"{LEDGER_NAME}.intake").iterdir())) <= 3, "segments are left behind"
    # One store and one removal may have been under way at each kill; all else on disk is alive.
    assert len(on_disk(tmp_path)) - alive <= 2 * KILLS_PER_SEED
