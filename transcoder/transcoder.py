"""`Transcoder`, the entrance to the package: takes the bytes of a file, returns an outcome, never raises."""

from __future__ import annotations

import logging
import time
from dataclasses import replace

from support.one_line import one_line
from support.rate_limited_log import RateLimitedLog
from support.worker_pool import WorkerPool

from .codecs import lossless
from .counters import CounterRow, Counters
from .decoding.recompress import Recompressor
from .decoding.supervisor import DecoderState
from .encoding import Encoder
from .instance import Progress
from .lossy import codecs as lossy
from .outcome import MAX_DETAIL_CHARS, WORTH_A_WARNING, KeptError, Outcome, Reason
from .policy.policy import Policy
from .proof.pending import PendingProofs, Proof
from .reading import Reader
from .settings import SECTION, Settings
from .syntaxes import Target

_log = logging.getLogger(__name__)


class Transcoder:
    """Transcodes DICOM files by a policy. Thread safe: apart from counters it holds nothing that changes."""

    def __init__(self, settings: Settings, pending: PendingProofs | None = None) -> None:
        """Build the policy and load a codec for every target it may ask for.

        Args:
            settings: what to do.
            pending: given where the caller ends the proof, on the thread that received the instance, before the
                instance counts as stored (`PendingProofs.settle`). Decoding and comparing then run beside what
                follows. None: they are done before `transcode` returns.

        Raises:
            ValueError: settings that cannot be carried out, see `policy.check`.
            RuntimeError: a codec, or the decoder process, is missing or does not work, in one line.
        """
        self._settings = settings
        self._pending = pending
        self._pool = WorkerPool("transcoder")
        self._policy = Policy(settings)
        self._counters = Counters()
        self._warnings = RateLimitedLog(lines=1)
        try:
            wanted = sorted(self._policy.targets) if settings.enable else []
            codecs = {target: lossless.load(target) for target in wanted}
            self._recompressor = Recompressor(settings) if settings.recompress and wanted else None
            losses = self._policy.losses if settings.enable else ()
            lossy_codecs = {loss: lossy.load(loss) for loss in losses}
        except RuntimeError as error:
            raise RuntimeError(f"{SECTION}: {error}") from error
        self._reader = Reader(settings, self._policy, self._recompressor, lossy_codecs)
        self._encoder = Encoder(settings, self._pool, codecs, lossy_codecs, pending)

    def transcode(self, dicom: bytes, origin: str) -> Outcome:
        """Transcode one file, or say why it is kept.

        Args:
            dicom: a DICOM Part 10 file as received; any bytes are tolerated.
            origin: where it came from, one of ``settings.ORIGINS``.

        Returns:
            The outcome. Nothing is raised: an instance that cannot be transcoded is stored as it came.
        """
        started = time.perf_counter_ns()
        progress = Progress(len(dicom), may_wait=self._pending is not None)
        if self._pending is not None:
            self._pending.discard()  # of an instance that this thread received before and that was never stored
        outcome = self._attempt(dicom, origin, progress)
        elapsed_ns = time.perf_counter_ns() - started
        if outcome.transcoded and progress.proof is not None and self._pending is not None:
            self._prove_later(self._pending, progress.proof, outcome, elapsed_ns)
        else:
            self._conclude(outcome, elapsed_ns)
        return outcome

    def tried(self, dicom: bytes, origin: str) -> Outcome:
        """The same as `transcode`, proven before it returns, and nothing is counted or logged."""
        return self._attempt(dicom, origin, Progress(len(dicom)))

    def close(self, deadline_s: float = 5.0) -> None:
        """End the helper threads and the decoder process. `transcode` goes on to work, without them."""
        self._pool.stop(deadline_s)
        if self._recompressor is not None:
            self._recompressor.stop(deadline_s)

    def _attempt(self, dicom: bytes, origin: str, progress: Progress) -> Outcome:
        try:
            return self._transcode(dicom, origin, progress)
        except KeptError as kept:
            return progress.outcome(kept.reason, kept.detail)
        except Exception as error:  # noqa: BLE001 - MemoryError too: no failure here may refuse an instance
            return progress.outcome(Reason.ERROR, one_line(error, MAX_DETAIL_CHARS, with_type=True))

    def _conclude(self, outcome: Outcome, elapsed_ns: int) -> None:
        self._counters.add(outcome, elapsed_ns)
        if outcome.reason in WORTH_A_WARNING:
            kind = f"{outcome.reason} {outcome.detail}" if outcome.reason is Reason.ERROR else str(outcome.reason)
            if (more := self._warnings.allow(kind)) is not None:
                _log.warning("Ingest transcoding: %s: %s%s", outcome.reason, outcome.detail, more)

    def _prove_later(self, pending: PendingProofs, proof: Proof, outcome: Outcome, elapsed_ns: int) -> None:
        """Count the instance only when its proof has ended, since only then is it known what became of it."""
        summary = replace(outcome, dicom=None)

        def finished(verify_ns: int, failure: str) -> None:
            proven = replace(summary, verify_ns=verify_ns)
            if failure:
                self._encoder.distrust(Target(outcome.target_syntax))
                proven = replace(
                    proven, transcoded=False, reason=Reason.REFUSED, detail=failure, bytes_out=outcome.bytes_in
                )
            self._conclude(proven, elapsed_ns + verify_ns)

        def never_stored() -> None:
            dropped = replace(summary, transcoded=False, reason=Reason.NEVER_STORED, bytes_out=outcome.bytes_in)
            self._conclude(dropped, elapsed_ns)

        proof.on_finished = finished
        proof.on_never_stored = never_stored
        pending.add(proof)
        for task in proof.tasks:
            self._pool.offer(task)

    @property
    def settings(self) -> Settings:
        """The settings it was made with."""
        return self._settings

    @property
    def policy(self) -> Policy:
        """The rules."""
        return self._policy

    @property
    def decodable(self) -> frozenset[str]:
        """Transfer syntaxes of compressed pixel data that are not kept for being compressed."""
        return self._reader.decodable

    @property
    def decoder(self) -> DecoderState | None:
        """State of the decoder process; None without `Recompress`."""
        return None if self._recompressor is None else self._recompressor.state

    def counters(self) -> tuple[CounterRow, ...]:
        """A snapshot of the totals by rule and reason."""
        return self._counters.rows()

    def _transcode(self, dicom: bytes, origin: str, progress: Progress) -> Outcome:
        self._reader.check_size(len(dicom))
        started = time.perf_counter_ns()
        received = memoryview(dicom)
        try:
            image = self._reader.read(received, origin, progress)
        finally:
            progress.scan_ns = time.perf_counter_ns() - started
        image = self._reader.with_native_pixels(image, progress)
        started = time.perf_counter_ns()
        try:
            new = self._encoder.encode(received, image, progress)
        finally:
            progress.encode_ns = time.perf_counter_ns() - started - progress.verify_ns
        if len(new) >= len(dicom):
            raise KeptError(Reason.NOT_SMALLER, f"{len(new)} bytes")
        if self._settings.dry_run:
            return replace(progress.outcome(Reason.DRY_RUN, progress.lost), bytes_out=len(new))
        return progress.outcome(Reason.LOSSY if progress.lost else Reason.TRANSCODED, progress.lost, new)
