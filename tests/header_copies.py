"""Header copies that stay in memory for as long as a test wants, whatever the speed of the disk."""

from __future__ import annotations

from collections.abc import Callable

from harness.orthanc_process import BUNDLE, OrthancProcess

# The PythonScript of a server that takes instances for being stored, and holds their header copies back, while a file is there.
_HOLDING = """
import runpy, sys
from pathlib import Path
sys.path.insert(0, {bundle!r})
from plugin import environment
environment.activate(Path({bundle!r}))
from deferred_delete import write_behind
from deferred_delete.manners import IngestWatch
write_behind._LONGEST_S = float("inf")
IngestWatch.busy = property(lambda self: Path({mark!r}).exists())
runpy.run_path({main!r})
"""


def hold_header_copies(server: OrthancProcess) -> Callable[[], None]:
    """Makes a server that is not started yet hold them back; returns what lets them be written."""
    server.folder.mkdir(parents=True, exist_ok=True)
    mark, script = server.folder / "hold", server.folder / "holding.py"
    mark.touch()
    script.write_text(_HOLDING.format(bundle=str(BUNDLE), mark=str(mark), main=str(BUNDLE / "plugin" / "main.py")))
    server.configuration["PythonScript"] = str(script)
    return mark.unlink
