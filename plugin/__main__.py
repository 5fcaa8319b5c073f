"""`python -m plugin check FILE-OR-FOLDER`: see plugin/check/command.py. Orthanc itself loads plugin/main.py."""

import sys
from pathlib import Path

from . import environment

if __name__ == "__main__":
    try:
        environment.activate(Path(__file__).resolve().parents[1])
    except environment.EnvironmentRefusedError as error:
        print(f"refused: {error}")  # noqa: T201 - this is a command
        sys.exit(2)
    from .check.command import main

    sys.exit(main())
