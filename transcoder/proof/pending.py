"""Proofs that end after `Transcoder.transcode` has returned, and before the instance is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dicom.file_meta import sop_instance_of
from support.one_line import one_line
from support.worker_pool import Task

from ..input.file_meta import read_file_meta
from ..outcome import MAX_DETAIL_CHARS, KeptError

# Memory for received instances that wait for their proof. Beyond it the proof is done before the instance is handed
# back.
_MAX_HELD_BYTES = 256 << 20


def _no_op(*_: object) -> None:
    """No-op callback."""


class Proof:
    """The proof that one instance's new frames decode to the pixels received.

    Attributes:
        on_finished: called with the nanoseconds that it took and the failure (empty when proven).
        on_never_stored: called instead where the instance was never stored.
    """

    def __init__(self, tasks: Sequence[Task[int]], size_bytes: int, sop_instance_uid: str) -> None:
        self.tasks = tasks
        self.size_bytes = size_bytes
        self.sop_instance_uid = sop_instance_uid
        self.on_finished: Callable[[int, str], None] = _no_op
        self.on_never_stored: Callable[[], None] = _no_op

    @property
    def done(self) -> bool:
        """Whether all tasks have ended, so that the instance is no longer held in memory."""
        return all(task.done for task in self.tasks)

    def finish(self) -> str:
        """Does here what no helper has begun, and waits for the rest.

        Returns:
            Empty when proven, else one line.
        """
        verify_ns = 0
        failure = ""
        for task in self.tasks:
            try:
                verify_ns += task.result()
            except KeptError as error:
                failure = failure or error.detail
            except Exception as error:  # noqa: BLE001 - whatever it is, nothing is proven
                failure = failure or one_line(error, MAX_DETAIL_CHARS, with_type=True)
        self.on_finished(verify_ns, failure)
        return failure


class PendingProofs:
    """At most one proof for each thread. Thread safe.

    The server stores an instance on the very thread that received it, inside one call: so what a thread is about to
    store is what it received last, unless that was refused in between and the thread stores something else now. By
    `threading.get_ident`, since an embedding program may make a new Python thread state for each callback, to which
    `threading.local` belongs.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._proofs: dict[int, Proof] = {}
        self._settle_was_called = False

    def may_wait(self, size_bytes: int) -> bool:
        """Whether the proof of an instance of this size may come later.

        Not before `settle` was called once: the storage area that is to call it may be another plugin's, and never
        does.
        """
        if not self._settle_was_called:
            return False
        with self._lock:
            held = sum(proof.size_bytes for proof in self._proofs.values() if not proof.done)
        return held + size_bytes <= _MAX_HELD_BYTES

    def add(self, proof: Proof) -> None:
        """Keep the proof of the instance that this thread stores next."""
        with self._lock:
            self._proofs[threading.get_ident()] = proof

    def discard(self) -> None:
        """Drop the proof of the instance that this thread received before, which was never stored."""
        proof = self._take()
        if proof is not None:
            proof.on_never_stored()

    def settle(self, stored: bytes) -> str:
        """Ends the proof of the instance that this thread is storing.

        Args:
            stored: the file's first kilobytes, or all of it. A proof of another instance is left alone. Where
                the bytes do not say which instance this is, the proof has to succeed: nothing unproven may be stored.

        Returns:
            Empty when there is no proof of it or it succeeded, else one line.
        """
        self._settle_was_called = True
        with self._lock:
            proof = self._proofs.get(threading.get_ident())
        if proof is None or _sop_instance_uid(stored) not in (proof.sop_instance_uid, None):
            return ""
        self._take()
        return proof.finish()

    def _take(self) -> Proof | None:
        with self._lock:
            return self._proofs.pop(threading.get_ident(), None)


def _sop_instance_uid(dicom: bytes) -> str | None:
    """Which instance a file says that it is; None where that cannot be read."""
    view = memoryview(dicom)
    try:
        return sop_instance_of(view, read_file_meta(view))
    except KeptError:
        return None
