"""`python -m bench WHAT ...`: runs one of the measurements; each has its own --help."""

from __future__ import annotations

import importlib
import sys

WHAT = {
    "ingest": "ingest and deletion of one study, the tables of Orthanc's published benchmark",
    "associations": "C-STORE with the association tuner and without, Orthanc to Orthanc, TLS",
    "transcoding": "transcoding on ingest against Orthanc's own",
    "deletion": "DELETE, draining, and ingest beside them",
    "studies": "storing while a study is deleted in the background",
    "memory": "resident memory after large uploads",
    "timing_cost": "what stage timing costs",
    "timeline": "a picture of the two stalls, from a capture",
}


def main() -> int:
    """Runs one of the measurements; 2 where there is none of that name."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in WHAT:
        print("python -m bench WHAT [--help]", *(f"  {one:14} {text}" for one, text in WHAT.items()), sep="\n")
        return 0 if name in {"-h", "--help"} else 2
    sys.argv = [f"python -m bench {name}", *sys.argv[2:]]
    return int(importlib.import_module(f"bench.{name}").main())


if __name__ == "__main__":
    sys.exit(main())
