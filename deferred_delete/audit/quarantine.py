"""Moves orphans out of the storage folder, and back. Nothing is ever deleted or overwritten."""

import os
import re
from pathlib import Path
from typing import Final, Self

import msgspec

from .comparison import AuditError, Finding, Walk

MANIFEST: Final = "manifest.jsonl"
_LAYOUT: Final = re.compile(r"[0-9a-fA-F]{2}", re.ASCII)


class Quarantine:
    """A folder on the storage's own file system, with the same layout and a manifest, one JSON line a file.

    Args:
        storage: Orthanc's StorageDirectory.
        folder: Made if missing.

    Raises:
        AuditError: On another file system, inside the storage's layout, or it can not be made.
    """

    def __init__(self, storage: Path, folder: Path) -> None:
        self._storage, self._folder = storage.resolve(), folder.resolve()
        inside = self._folder.relative_to(self._storage).parts if self._folder.is_relative_to(self._storage) else None
        if inside is not None and (not inside or _LAYOUT.fullmatch(inside[0])):
            raise AuditError(f"{folder} is a folder of the storage's own layout: expected one beside it")
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if self._folder.stat().st_dev != self._storage.stat().st_dev:
                raise AuditError(
                    f"{folder} is on another file system than {storage}: expected the same, where a move is a rename"
                )
            self._manifest = (self._folder / MANIFEST).open("ab")
        except OSError as error:
            raise AuditError(f"cannot use {folder}: {error.strerror}: expected a folder one may write") from error
        self.moved = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._manifest.close()

    def take(self, finding: Finding) -> None:
        """Moves one orphan. In the manifest first: a crash leaves a line too many, never a file that nobody can place.

        Raises:
            AuditError: It could not be moved, and is where it was.
        """
        uuid = finding.attachment_uuid
        try:
            self._manifest.write(msgspec.json.encode(finding) + b"\n")
            self._manifest.flush()
            os.fsync(self._manifest.fileno())
            _move(self._storage, self._folder, uuid)
        except OSError as error:
            raise AuditError(
                f"cannot move {uuid} to {self._folder}: {error.strerror}: expected a folder one may write"
            ) from error
        self.moved += 1


def bring_back(storage: Path, folder: Path) -> int:
    """Moves every file of a quarantine back to where it was; returns how many.

    Raises:
        AuditError: One could not be moved, or a file stands in its place; those before it are back.
    """
    if not (folder / MANIFEST).is_file():
        raise AuditError(f"{folder} is no quarantine: expected a folder with {MANIFEST}")
    moved = 0
    for file in Walk(folder):
        try:
            _move(folder, storage, file.attachment_uuid)
        except OSError as error:
            raise AuditError(
                f"cannot bring {file.attachment_uuid} back to {storage}: {error.strerror}: expected its place free"
            ) from error
        moved += 1
    return moved


def _move(source: Path, target: Path, uuid: str) -> None:
    """Raises OSError."""
    place = Path(uuid[:2], uuid[2:4])
    (target / place).mkdir(parents=True, exist_ok=True)
    # link fails where a name is taken; rename would overwrite.
    try:
        os.link(source / place / uuid, target / place / uuid, follow_symlinks=False)
    except FileExistsError:
        if not (source / place / uuid).samefile(target / place / uuid):  # else a crash came between link and unlink
            raise
    (source / place / uuid).unlink()
