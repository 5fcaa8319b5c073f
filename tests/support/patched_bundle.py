"""A bundle with a part of it changed before Orthanc loads it: one that lies, dawdles or waits for a test."""

from __future__ import annotations

from collections.abc import Callable

from harness.orthanc_process import BUNDLE, OrthancProcess

_SCRIPT = """
import runpy, sys
from pathlib import Path
sys.path.insert(0, {bundle!r})
from plugin import environment
environment.activate(Path({bundle!r}))
{change}
runpy.run_path({main!r})
"""


def patch_bundle(server: OrthancProcess, change: str) -> None:
    """Makes a server that is not started yet run these lines of Python before the bundle's own script."""
    server.folder.mkdir(parents=True, exist_ok=True)
    script = server.folder / "patched.py"
    script.write_text(_SCRIPT.format(bundle=str(BUNDLE), change=change, main=str(BUNDLE / "plugin" / "main.py")))
    server.configuration["PythonScript"] = str(script)


def hold_header_copies(server: OrthancProcess) -> Callable[[], None]:
    """Makes a server that is not started yet keep header copies in memory, whatever the speed of the disk.

    Returns:
        What lets them be written.
    """
    mark = server.folder / "hold"
    patch_bundle(
        server,
        f"""
from deferred_delete.storage import write_behind
from deferred_delete.worker.throttle import IngestWatch
write_behind._LONGEST_S = float("inf")
IngestWatch.busy = property(lambda self: Path({str(mark)!r}).exists())
""",
    )
    mark.touch()
    return mark.unlink
