"""Finds other plugins of the same Orthanc that own the storage area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# C++ plugins, and the section of each. These register a storage area unless the section turns them off. Orthanc takes
# the first storage area and only logs that it refused the second: ours would never be called.
STORAGE_PLUGINS = {"libDelayedDeletion.so": "DelayedDeletion", "libAdvancedStorage.so": "AdvancedStorage"}
# These do so where the section is there.
OBJECT_STORAGE_PLUGINS = {
    "libOrthancAwsS3Storage.so": "AwsS3Storage",
    "libOrthancAzureBlobStorage.so": "AzureBlobStorage",
    "libOrthancGoogleCloudStorage.so": "GoogleCloudStorage",
}
# These do so where the section's EnableStorage is true.
DATABASE_STORAGE_PLUGINS = {
    "libOrthancPostgreSQLStorage.so": "PostgreSQL",
    "libOrthancMySQLStorage.so": "MySQL",
    "libOrthancOdbcStorage.so": "Odbc",
}
MAPS = Path("/proc/self/maps")


def loaded_libraries(maps: Path = MAPS) -> set[str]:
    """File names of the shared libraries in this process, without version suffixes.

    Empty where /proc cannot be read.
    """
    try:
        lines = maps.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    names = {
        Path(line.split(maxsplit=5)[5]).name for line in lines if line.count("/") and len(line.split(maxsplit=5)) == 6
    }
    return {name.partition(".so")[0] + ".so" for name in names if ".so" in name}


def storage_conflict(document: dict[str, Any], libraries: set[str]) -> str:
    """One line if another plugin owns the storage area, else empty.

    Args:
        document: Orthanc's whole configuration.
        libraries: as `loaded_libraries` gives them.
    """
    for library, section in STORAGE_PLUGINS.items():
        settings = document.get(section, {})
        enabled = settings.get("Enable", True) if isinstance(settings, dict) else True
        if library in libraries and enabled:
            return (
                f"{section}.Enable: true: {library} is loaded and owns the storage area, so DeferredDelete cannot: "
                f'expected one of both: add "{section}": {{"Enable": false}}, or leave {library} out of "Plugins"'
            )
    for library, section in OBJECT_STORAGE_PLUGINS.items():
        if library in libraries and section in document:
            return (
                f"{section}: {library} is loaded and owns the storage area, so DeferredDelete cannot: "
                f"expected one of both: remove the section {section}, or DeferredDelete"
            )
    for library, section in DATABASE_STORAGE_PLUGINS.items():
        settings = document.get(section)
        if library in libraries and isinstance(settings, dict) and settings.get("EnableStorage"):
            return (
                f"{section}.EnableStorage: true: {library} is loaded and owns the storage area, so DeferredDelete "
                "cannot: expected one of both: set EnableStorage to false, or remove DeferredDelete"
            )
    return ""
