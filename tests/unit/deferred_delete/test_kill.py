"""SIGKILL at any moment: no accepted deletion is forgotten, no live attachment is unlinked."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deferred_delete import DeferredDelete, Settings

# Every second attachment is removed and acknowledged on stdout once ``remove`` has returned; the others are live.
REMOVES = """
import os, sys
from pathlib import Path
from deferred_delete import DeferredDelete, Settings
root, seed, drain = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "drain"
service = DeferredDelete(root / "storage", Settings(grace_period=0, batch_size=16), sync=False)
if drain:
    service.worker.start()
os.write(1, b"ready\\n")
number = 0
while True:
    attachment = f"{number % 7:02x}{number % 5:02x}{number % 65536:04x}-0000-4000-8000-{seed:04x}{number:08x}"
    service.area.create(attachment, 1, b"content")
    if number % 2:
        service.area.remove(attachment, 1)
        os.write(1, f"removed {attachment}\\n".encode())
    else:
        os.write(1, f"live {attachment}\\n".encode())
    number += 1
"""


@pytest.mark.parametrize("mode", ["enqueue", "drain"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_kill_forgets_nothing_and_unlinks_nothing_alive(
    tmp_path: Path, repository: Path, seed: int, mode: str
) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", REMOVES, str(tmp_path), str(seed), mode], stdout=subprocess.PIPE, cwd=repository
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"ready\n"
    # After so many files, however slow the disk, and a moment more: in the middle of something.
    moments = random.Random(seed)
    seen = b"".join(child.stdout.readline() for _ in range(moments.randrange(20, 600)))
    time.sleep(moments.uniform(0.0, 0.01))
    child.send_signal(signal.SIGKILL)
    lines = (seen + child.communicate()[0]).decode().split("\n")[:-1]  # the last one may be cut
    assert child.returncode == -signal.SIGKILL
    removed = {line.split()[1] for line in lines if line.startswith("removed ")}
    live = {line.split()[1] for line in lines if line.startswith("live ")}
    assert len(removed) > 5

    service = DeferredDelete(tmp_path / "storage", Settings(grace_period=0), sync=False)
    on_disk = {path.name for path in service.storage.root.rglob("*-*-*-*-*") if path.is_file()}
    assert live <= on_disk, "a live attachment was unlinked"
    claims = service.ledger.claim(1_000_000, service.ledger.clock.now_ms() + 1)
    recorded = {claim.attachment_uuid for claim in claims}
    assert removed & on_disk <= recorded, "an accepted deletion was forgotten"
    assert not recorded & live
    service.ledger.release([claim.pending_id for claim in claims])
    while service.worker.run_once(service.ledger.clock.now_ms() + 1).claimed:
        pass
    service.close()
    after = {path.name for path in service.storage.root.rglob("*-*-*-*-*") if path.is_file()}
    assert live <= after
    assert not removed & after
    assert len(after - live) <= 2, "at most the file being stored and the removal being recorded when the axe fell"


DRAINS = """
import os, sys
from pathlib import Path
from deferred_delete import DeferredDelete, Settings
service = DeferredDelete(Path(sys.argv[1]) / "storage", Settings(grace_period=0, batch_size=32), sync=False)
os.write(1, b"ready\\n")
while sys.stdin.readline():  # a batch for each line
    assert service.worker.run_once().claimed
    os.write(1, b"batch\\n")
"""


@pytest.mark.parametrize("seed", range(1, 4))
def test_kills_again_and_again_in_mid_drain_end_with_everything_done(
    tmp_path: Path, repository: Path, seed: int
) -> None:
    source = random.Random(seed)
    service = DeferredDelete(tmp_path / "storage", Settings(grace_period=0), sync=False)
    attachments = [f"{n % 9:02x}00{n:04x}-0000-4000-8000-{seed:012x}" for n in range(1000)]
    for number, attachment in enumerate(attachments):
        service.area.create(attachment, 1, b"content")
        if number % 4:
            service.area.remove(attachment, 1)
    service.close()
    live = set(attachments[::4])
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", DRAINS, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=repository
        )
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        for batch in range(batches := source.randrange(1, 6)):
            child.stdin.write(b"go on\n")
            child.stdin.flush()
            if batch < batches - 1:
                assert child.stdout.readline() == b"batch\n"
        time.sleep(source.uniform(0.0, 0.005))  # it is in its last batch
        child.send_signal(signal.SIGKILL)
        child.communicate()
        on_disk = {path.name for path in (tmp_path / "storage").rglob("*-*-*-*-*") if path.is_file()}
        assert live <= on_disk
    service = DeferredDelete(tmp_path / "storage", Settings(grace_period=0), sync=False)
    assert service.ledger.counts().total > 0, "the drain was over before the last kill"
    while service.worker.run_once().claimed:
        pass
    assert service.ledger.counts().total == 0
    service.close()
    assert {path.name for path in service.storage.root.rglob("*-*-*-*-*") if path.is_file()} == live
