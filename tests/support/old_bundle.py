"""Version 0.1.0 as it was installed: its file names, and a ledger of the schema that it wrote."""

from __future__ import annotations

import contextlib
import hashlib
import platform
import shutil
import sqlite3
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from harness.orthanc_process import BUNDLE

# Each of its modules raises: a test sees at once where one that was left over is still imported.
MODULE = 'raise ImportError("left over from 0.1.0")\n'
APPLICATION_ID = 0x4F44656C


class PendingRow(NamedTuple):
    """A row of the table `pending`, which is the same in schema versions 2 and 3."""

    attachment_uuid: str
    content_type: int
    enqueued_at: int
    state: str
    attempts: int
    next_attempt_at: int
    last_error: str | None


def unpack(folder: Path) -> Path:
    """Makes an unpacked bundle with the files of 0.1.0, and one library for the Python that runs this.

    The installer is today's, which is the same file.
    """
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    names = (Path(__file__).parent / "files_of_0_1_0.txt").read_text().split("\n")[:-1]
    for name in [*names, f"env/lib/{python}/site-packages/thing/__init__.py"]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(MODULE if name.endswith(".py") else "of 0.1.0\n")
    shutil.copy(BUNDLE / "install.sh", folder / "install.sh")
    (folder / "VERSION").write_text(f"0.1.0\nPython {python[6:]}, Linux {platform.machine()}\n")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
    (folder / "SHA256SUMS").write_text("".join(sums))
    return folder


def write_ledger(path: Path, rows: Iterable[PendingRow]) -> None:
    """Makes a ledger of schema version 2, which is what 0.1.0 wrote, with these rows."""
    schema = BUNDLE / "deferred_delete" / "ledger"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA page_size = 1024")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.executescript((schema / "schema.sql").read_text() + (schema / "schema_2.sql").read_text())
        connection.execute("PRAGMA user_version = 2")
        connection.executemany(
            f"INSERT INTO pending ({', '.join(PendingRow._fields)}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
        )


def read_ledger(path: Path) -> tuple[int, list[PendingRow]]:
    """The schema version of a ledger, and its rows in the order in which they were made."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute(f"SELECT {', '.join(PendingRow._fields)} FROM pending ORDER BY pending_id")
        return version, [PendingRow(*row) for row in rows]
