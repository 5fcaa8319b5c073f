"""Other plugins that own the storage area."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from plugin.conflicts import loaded_libraries, storage_conflict

MAPS = """\
7f0000000000-7f0000001000 r--p 00000000 fe:00 12 /usr/lib/orthanc/libDelayedDeletion.so.1.12.7
7f0000001000-7f0000002000 r--p 00000000 fe:00 13 /opt/plug ins/libOrthancPython.so.5.0
7ffc00000000-7ffc00001000 rw-p 00000000 00:00 0 [stack]
7ffd00000000-7ffd00001000 rw-p 00000000 00:00 0
"""


def test_libraries_are_known_by_name_without_their_version(tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    maps.write_text(MAPS)
    assert loaded_libraries(maps) == {"libDelayedDeletion.so", "libOrthancPython.so"}
    assert loaded_libraries(tmp_path / "absent") == set()


@pytest.mark.parametrize(
    ("document", "libraries", "conflict"),
    [
        # Debian 13 loads the whole plugins folder, and the C++ plugin is on unless told otherwise.
        ({}, {"libDelayedDeletion.so"}, "DelayedDeletion.Enable: true"),
        ({"DelayedDeletion": {"Enable": True}}, {"libDelayedDeletion.so"}, "DelayedDeletion.Enable: true"),
        ({"DelayedDeletion": {"Enable": False}}, {"libDelayedDeletion.so"}, ""),
        # The section alone is ours to understand.
        ({"DelayedDeletion": {"Enable": True}}, {"libOrthancPython.so"}, ""),
        ({}, {"libAdvancedStorage.so"}, "AdvancedStorage.Enable: true"),
        # Object storage is on by its section, a database's by a switch in its section.
        ({}, {"libOrthancAwsS3Storage.so"}, ""),
        ({"AwsS3Storage": {"BucketName": "archive"}}, {"libOrthancAwsS3Storage.so"}, "AwsS3Storage: libOrthancAwsS3"),
        ({"PostgreSQL": {"EnableIndex": True}}, {"libOrthancPostgreSQLStorage.so"}, ""),
        (
            {"PostgreSQL": {"EnableStorage": True}},
            {"libOrthancPostgreSQLStorage.so"},
            "PostgreSQL.EnableStorage: true",
        ),
    ],
)
def test_a_second_storage_area_is_refused_by_name(document: dict[str, Any], libraries: set[str], conflict: str) -> None:
    line = storage_conflict(document, libraries)
    assert line.startswith(conflict)
    assert bool(line) == bool(conflict)
