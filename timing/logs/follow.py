"""Follows a log that is being written, as `tail -F` does: across rotation by renaming and by copying and truncating."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Final

from .lines import MAX_LINE_LENGTH

POLL_S: Final = 0.25
_TAIL_BYTES: Final = 256
_MAX_BATCH: Final = 10_000


class FollowedFile:
    """A path whose file may grow, shrink, vanish and be another one.

    Args:
        path: where the log is written; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._rest = b""  # a line whose end is not written yet
        self._tail = (
            b""  # the bytes before the position, which a file that was truncated and has grown again does not have
        )
        self.rotations = 0

    def read(self) -> list[str]:
        """Return the whole lines written since the last call, at most _MAX_BATCH of them.

        Raises:
            OSError: the file is there and cannot be read.
        """
        if self._file is None and not self._open():
            return []
        assert self._file is not None
        if self._was_truncated():
            self._start_over()
        lines = self._whole_lines()
        if not lines and self._is_another():
            lines = self._whole_lines()  # what was written up to the rotation
            if len(lines) < _MAX_BATCH:
                lines += self._last_piece()
                self.close()
                self.rotations += 1
        return [line.decode("utf-8", "replace") for line in lines]

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
        self._file, self._tail = None, b""

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return False
        return True

    def _is_another(self) -> bool:
        assert self._file is not None
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False  # between renaming and the new file: the old one may still be written to
        ours = os.fstat(self._file.fileno())
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)

    def _was_truncated(self) -> bool:
        assert self._file is not None
        position = self._file.tell()
        size = os.fstat(self._file.fileno()).st_size
        if size == position:
            return False
        return (
            size < position or os.pread(self._file.fileno(), len(self._tail), position - len(self._tail)) != self._tail
        )

    def _start_over(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        self._rest = self._tail = b""
        self.rotations += 1

    def _whole_lines(self) -> list[bytes]:
        assert self._file is not None
        lines: list[bytes] = []
        while len(lines) < _MAX_BATCH and (piece := self._file.readline(MAX_LINE_LENGTH)):
            self._tail = (self._tail + piece)[-_TAIL_BYTES:]
            self._rest += piece
            if piece.endswith(b"\n") or len(self._rest) >= MAX_LINE_LENGTH:
                lines.append(self._rest)
                self._rest = b""
        return lines

    def _last_piece(self) -> list[bytes]:
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def batches(file: FollowedFile, sleep: Callable[[float], None] = time.sleep) -> Iterator[list[str]]:
    """Yield the lines of `file` as they come, for ever; an empty batch where nothing was written for POLL_S seconds."""
    while True:
        lines = file.read()
        yield lines
        if not lines:
            sleep(POLL_S)
