"""Finds the libraries that were installed for the Python that this Orthanc embeds.

It uses the standard library only, because it runs before the others can be imported.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

# Libraries that are imported at start, so that a broken environment is refused then and not at the first instance.
_PROBES = ("msgspec", "numpy", "pydicom")


class EnvironmentRefusedError(Exception):
    """The bundle's environment is missing, broken, or was made for another Python; the message is one line."""


def site_packages(bundle: Path, version: tuple[int, int]) -> Path:
    """Where `make setup` and the packed bundle put the libraries for Python `version`.

    Args:
        bundle: the folder that holds plugin/ and env/.
        version: (major, minor) of the Python embedded in Orthanc.

    Raises:
        EnvironmentRefusedError: there is none, or only one for another Python.
    """
    folder = bundle / "env" / "lib" / f"python{version[0]}.{version[1]}" / "site-packages"
    if folder.is_dir():
        return folder
    embedded = f"Python {version[0]}.{version[1]}"
    others = sorted(path.parent.name.removeprefix("python") for path in bundle.glob("env/lib/python*/site-packages"))
    if others:
        raise EnvironmentRefusedError(
            f"{bundle / 'env'} was made for Python {', '.join(others)}, but this Orthanc embeds {embedded}: "
            + _remedy(bundle, version)
        )
    raise EnvironmentRefusedError(f"no libraries for {embedded} in {bundle / 'env'}: {_remedy(bundle, version)}")


def _remedy(bundle: Path, version: tuple[int, int]) -> str:
    """What to do: a packed bundle (it has a file VERSION) brings its libraries, a checkout makes them."""
    if (bundle / "VERSION").is_file():
        return f"install orthanc-ingest-bundle-...-py{version[0]}{version[1]}.tar.gz over it"
    return "run 'make setup' in the bundle's folder on this machine"


def activate(bundle: Path) -> None:
    """Puts the bundle's libraries before the system's on `sys.path` and checks that they load.

    Raises:
        EnvironmentRefusedError: see `site_packages`; or a library does not import.
    """
    version = (sys.version_info.major, sys.version_info.minor)
    folder = site_packages(bundle, version)
    if str(folder) not in sys.path:
        # First: our codecs were built against this numpy, not against the one that may be in dist-packages.
        sys.path.insert(0, str(folder))
    for name in _PROBES:
        try:
            importlib.import_module(name)
        except ImportError as error:
            if "more than once per process" in str(error):
                raise EnvironmentRefusedError(
                    "Orthanc restarted inside its own process (/tools/reset), and numpy can be loaded only once in a "
                    "process: expected a restart of the Orthanc service"
                ) from None
            raise EnvironmentRefusedError(
                f"cannot import {name} from {folder}: {error}: {_remedy(bundle, version)}"
            ) from None
