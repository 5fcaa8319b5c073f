"""Encodes an instance for its target and writes the new file, with the proof done at once or left for later."""

from __future__ import annotations

from dicom.file_meta import sop_instance_of
from support.worker_pool import WorkerPool

from .codecs.codec import Codec
from .codecs.frames import Frames, encode_frames, proof_tasks
from .instance import Image, Progress
from .lossy import frames as lossy
from .lossy.codec import LossyCodec
from .output.splice import splice
from .policy.loss import Loss
from .proof.pending import PendingProofs, Proof
from .settings import Settings
from .syntaxes import Target


class Encoder:
    """Encodes instances, with the frames of one spread over a pool of helper threads.

    Args:
        codecs: for every lossless target that a rule may ask for.
        lossy_codecs: for every loss that a rule allows.
        pending: where proofs may be left for later; None where they may not.
    """

    def __init__(
        self,
        settings: Settings,
        pool: WorkerPool,
        codecs: dict[Target, Codec],
        lossy_codecs: dict[Loss, LossyCodec],
        pending: PendingProofs | None,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self.codecs = codecs
        self.lossy_codecs = lossy_codecs
        self._pending = pending
        self._distrusted: set[Target] = set()

    def encode(self, received: memoryview, image: Image, progress: Progress) -> bytes:
        """The new file. Where its proof is left for later, that is in ``progress``.

        Raises:
            KeptError: with the reason.
        """
        if image.loss is not None:
            return self._encode_with_loss(received, image, image.loss, progress)
        frames = Frames(image.pixels, image.layout, self.codecs[image.target])
        later = progress.may_wait and self._may_prove_later(image.target, image.held_bytes)
        verify = self._settings.verify and not later
        encoded = encode_frames(frames, self._pool, verify=verify, byte_limit=len(received))
        progress.verify_ns = encoded.verify_ns
        new = splice(received, image.meta, image.header, encoded.fragments, image.target)
        if later:
            sop_instance_uid = sop_instance_of(received, image.meta)
            progress.proof = Proof(proof_tasks(frames, encoded.fragments), image.held_bytes, sop_instance_uid)
        return new

    def distrust(self, target: Target) -> None:
        """From now on prove what this target's codec makes at once: so originals are kept instead of refused."""
        self._distrusted.add(target)

    def _encode_with_loss(self, received: memoryview, image: Image, loss: Loss, progress: Progress) -> bytes:
        """The loss is always measured at once, whatever Verify says.

        What was lost is written into the file, and where it is too much the original is kept.
        """
        frames = lossy.frames_of(received, image.meta, image.header, image.layout, self.lossy_codecs[loss])
        encoded = encode_frames(frames, self._pool, verify=True, byte_limit=len(received))
        progress.verify_ns = encoded.verify_ns
        new = splice(received, image.meta, image.header, encoded.fragments, image.target)
        new, progress.lost = lossy.marked(new, frames, encoded.fragments)
        return new

    def _may_prove_later(self, target: Target, size_bytes: int) -> bool:
        """Whether the proof may end after the callback. Not for a target whose codec has failed."""
        settings, pending = self._settings, self._pending
        if pending is None or not settings.verify or settings.dry_run or target in self._distrusted:
            return False
        return pending.may_wait(size_bytes)
