"""Proofs that are not done yet when an instance is handed back, and are before it is stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from dicom.file_meta import sop_instance_of
from support.one_line import one_line
from support.worker_pool import Task

from ..input.file_meta import read_file_meta
from ..outcome import MAX_DETAIL_CHARS, KeptError

# Received instances that are held until their proof is done; beyond, the proof comes before the instance is handed
# back.
_MOST_BYTES = 256 << 20


def _nobody(*_told: object) -> None:
    """Nobody wants to know."""


class Proof:
    """The proof that one instance's new frames decode to the pixels received.

    Attributes:
        conclude: told the nanoseconds and the verdict, once there is one.
        give_up: told instead that the instance was never stored.
    """

    def __init__(self, tasks: Sequence[Task[int]], size_bytes: int, sop_instance_uid: str) -> None:
        self.tasks = tasks
        self.size_bytes = size_bytes
        self.sop_instance_uid = sop_instance_uid
        self.conclude: Callable[[int, str], None] = _nobody
        self.give_up: Callable[[], None] = _nobody

    @property
    def done(self) -> bool:
        """Whether the instance is not held any longer."""
        return all(task.done for task in self.tasks)

    def verdict(self) -> str:
        """Empty when proven, else one line. Does here what no helper has begun, and waits for the rest."""
        verify_ns = 0
        failure = ""
        for task in self.tasks:
            try:
                verify_ns += task.result()
            except KeptError as error:
                failure = failure or error.detail
            except Exception as error:  # noqa: BLE001 - whatever it was, nothing is proven
                failure = failure or one_line(error, MAX_DETAIL_CHARS, with_type=True)
        self.conclude(verify_ns, failure)
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
        self._asked = False

    def may_wait(self, size_bytes: int) -> bool:
        """Whether the proof of an instance of this size may come later.

        Not before somebody has asked for a verdict, if only for none: whoever passes this object on may be mistaken in
        thinking that it will be asked, say because another plugin has the storage area.
        """
        if not self._asked:
            return False
        with self._lock:
            held = sum(proof.size_bytes for proof in self._proofs.values() if not proof.done)
        return held + size_bytes <= _MOST_BYTES

    def expect(self, proof: Proof) -> None:
        """What this thread stores next is to be proven first."""
        with self._lock:
            self._proofs[threading.get_ident()] = proof

    def forget(self) -> None:
        """What this thread received before is not going to be stored."""
        proof = self._take()
        if proof is not None:
            proof.give_up()

    def settle(self, stored: bytes) -> str:
        """Ends the proof of the instance that this thread is storing.

        Args:
            stored: the file's first kilobytes, or all of it. A proof of another instance is left alone; where nobody
                can tell which instance this is, the proof has to succeed, as nothing unproven may be stored.

        Returns:
            Empty when there is no proof of it or it succeeded, else one line.
        """
        self._asked = True
        with self._lock:
            proof = self._proofs.get(threading.get_ident())
        if proof is None or _sop_instance_uid(stored) not in (proof.sop_instance_uid, None):
            return ""
        self._take()
        return proof.verdict()

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
