"""What the storage area, the worker, restores and audits need of a storage, whether or not it holds files in memory."""

from pathlib import Path
from typing import NamedTuple, Protocol


class Deleted(NamedTuple):
    """What an unlink found: whether there was a file, and how many bytes it held."""

    existed: bool
    size_bytes: int


class Storage(Protocol):
    """Orthanc's attachments by their UUID. Safe to use from any thread.

    Each method but ``holds`` raises StorageError for what is not an attachment UUID.
    """

    @property
    def root(self) -> Path:
        """Orthanc's StorageDirectory."""

    @property
    def has_root(self) -> bool:
        """Whether the storage folder is there at all."""

    @property
    def unwritten(self) -> int:
        """How many files are in memory only."""

    def holds(self, attachment_uuid: str, /) -> bool:
        """Whether a file is in memory only."""

    def path_of(self, attachment_uuid: str) -> Path:
        """Where an attachment's file is, or would be."""

    def create(self, attachment_uuid: str, content: bytes, *, sync: bool = True) -> int:
        """Writes a new attachment; returns the nanoseconds spent in syncing. Raises StorageError."""

    def read(self, attachment_uuid: str) -> bytes:
        """All of an attachment's bytes. Raises StorageError."""

    def head(self, attachment_uuid: str, size_bytes: int) -> tuple[bytes, float]:
        """Its first bytes, and when it was written (seconds since 1970). Raises StorageError."""

    def size(self, attachment_uuid: str) -> int | None:
        """Its length in bytes; None if there is no file. Raises StorageError."""

    def rewrite(self, attachment_uuid: str, content: bytes) -> None:
        """Replaces a torn or missing file. Raises StorageError."""

    def delete(self, attachment_uuid: str) -> Deleted:
        """Unlinks an attachment; a missing file is a completed deletion. Raises StorageError."""
