"""The front door: bytes in, an outcome out, never an exception."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace

from dicom.file_meta import FileMeta, sop_instance_of
from support.one_line import one_line
from support.rate_limited_log import RateLimitedLog
from support.worker_pool import WorkerPool

from .codecs import lossless as codecs
from .codecs.frames import Frames, encode_frames, proof_tasks
from .counters import CounterRow, Counters
from .decoding.recompress import DECODABLE, Recompressor, require_compressed_pixels
from .decoding.supervisor import DecoderState
from .input.file_meta import read_file_meta
from .input.header import Header
from .input.normalise import as_explicit, open_data_set
from .input.pixels import Layout, attributes_of, layout_of, require_pixel_data
from .lossy import codecs as lossy_codecs
from .lossy import frames as lossy
from .outcome import MAX_DETAIL_CHARS, WORTH_A_WARNING, KeptError, Outcome, Reason
from .output.splice import splice
from .policy.loss import Loss
from .policy.policy import Decision, Policy, facts_of
from .proof.pending import PendingProofs, Proof
from .settings import SECTION, Settings
from .syntaxes import MEDIA_STORAGE_DIRECTORY, Target

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Progress:
    """What is known of an instance so far, for the outcome of one that fails half-way."""

    bytes_in: int
    may_wait: bool = False
    rule: str = ""
    source_syntax: str = ""
    target_syntax: str = ""
    scan_ns: int = 0
    decode_ns: int = 0
    encode_ns: int = 0
    verify_ns: int = 0
    proof: Proof | None = None
    lost: str = ""

    def outcome(self, reason: Reason, detail: str, dicom: bytes | None = None) -> Outcome:
        return Outcome(
            transcoded=dicom is not None,
            dicom=dicom,
            reason=reason,
            detail=detail,
            rule=self.rule,
            source_syntax=self.source_syntax,
            target_syntax=self.target_syntax,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_in if dicom is None else len(dicom),
            scan_ns=self.scan_ns,
            decode_ns=self.decode_ns,
            encode_ns=self.encode_ns,
            verify_ns=self.verify_ns,
        )


@dataclass(frozen=True, slots=True)
class _Image:
    """An instance that is to be transcoded, read and checked; ``pixels`` is where its native pixel data is, ``held_bytes`` what it keeps in memory."""

    meta: FileMeta
    header: Header
    layout: Layout
    target: Target
    pixels: Header
    held_bytes: int
    loss: Loss | None = None


class Transcoder:
    """Transcodes DICOM files by a policy. Thread safe: apart from counters it holds nothing that changes."""

    def __init__(self, settings: Settings, pending: PendingProofs | None = None) -> None:
        """Build the policy and load a codec for every target it may ask for.

        Args:
            settings: what to do.
            pending: given where somebody asks for the verdict on each thread before an instance counts as stored
                (`PendingProofs.settle`): decoding and comparing is then left to run beside what follows. None: it is
                done before `transcode` returns.

        Raises:
            ValueError: settings that make no sense, see `policy.check`.
            RuntimeError: a codec, or the decoder process, is missing or does not work, in one line.
        """
        self._settings = settings
        self._pending = pending
        self._pool = WorkerPool("transcoder")
        self._distrusted: set[Target] = set()
        self._policy = Policy(settings)
        self._counters = Counters()
        self._warnings = RateLimitedLog(lines=1)
        try:
            wanted = sorted(self._policy.targets) if settings.enable else []
            self._codecs = {target: codecs.load(target) for target in wanted}
            self._recompressor = Recompressor(settings) if settings.recompress and wanted else None
            losses = self._policy.losses if settings.enable else ()
            self._lossy_codecs = {loss: lossy_codecs.load(loss) for loss in losses}
        except RuntimeError as error:
            raise RuntimeError(f"{SECTION}: {error}") from error

    def transcode(self, dicom: bytes, origin: str) -> Outcome:
        """Transcode one file, or say why it is kept.

        Args:
            dicom: a DICOM Part 10 file as received; any bytes are tolerated.
            origin: where it came from, one of ``settings.ORIGINS``.

        Returns:
            The outcome. Nothing is raised: an instance that cannot be transcoded is stored as it came.
        """
        started = time.perf_counter_ns()
        progress = _Progress(len(dicom), may_wait=self._pending is not None)
        if self._pending is not None:
            self._pending.forget()  # of an instance that this thread received before and that was never stored
        outcome = self._attempt(dicom, origin, progress)
        elapsed_ns = time.perf_counter_ns() - started
        if outcome.transcoded and progress.proof is not None and self._pending is not None:
            self._prove_later(self._pending, progress.proof, outcome, elapsed_ns)
        else:
            self._conclude(outcome, elapsed_ns)
        return outcome

    def tried(self, dicom: bytes, origin: str) -> Outcome:
        """The same, proven before it returns, and nothing is counted or logged."""
        return self._attempt(dicom, origin, _Progress(len(dicom)))

    def close(self, deadline_s: float = 5.0) -> None:
        """End the helper threads and the decoder process. `transcode` goes on to work, without them."""
        self._pool.stop(deadline_s)
        if self._recompressor is not None:
            self._recompressor.stop(deadline_s)

    def _attempt(self, dicom: bytes, origin: str, progress: _Progress) -> Outcome:
        try:
            return self._transcode(dicom, origin, progress)
        except KeptError as kept:
            return progress.outcome(kept.reason, kept.detail)
        except Exception as error:  # noqa: BLE001 - MemoryError and RecursionError too: no failure here may refuse an instance
            return progress.outcome(Reason.ERROR, one_line(error, MAX_DETAIL_CHARS, with_type=True))

    def _conclude(self, outcome: Outcome, elapsed_ns: int) -> None:
        self._counters.add(outcome, elapsed_ns)
        if outcome.reason in WORTH_A_WARNING:
            kind = f"{outcome.reason} {outcome.detail}" if outcome.reason is Reason.ERROR else str(outcome.reason)
            if (more := self._warnings.allow(kind)) is not None:
                _log.warning("Ingest transcoding: %s: %s%s", outcome.reason, outcome.detail, more)

    def _prove_later(self, pending: PendingProofs, proof: Proof, outcome: Outcome, elapsed_ns: int) -> None:
        """Count the instance only when it is proven, since only then is it known what became of it."""
        summary = replace(outcome, dicom=None)

        def conclude(verify_ns: int, failure: str) -> None:
            proven = replace(summary, verify_ns=verify_ns)
            if failure:
                self._distrusted.add(Target(outcome.target_syntax))
                proven = replace(
                    proven, transcoded=False, reason=Reason.REFUSED, detail=failure, bytes_out=outcome.bytes_in
                )
            self._conclude(proven, elapsed_ns + verify_ns)

        def give_up() -> None:
            dropped = replace(summary, transcoded=False, reason=Reason.NEVER_STORED, bytes_out=outcome.bytes_in)
            self._conclude(dropped, elapsed_ns)

        proof.conclude = conclude
        proof.give_up = give_up
        pending.expect(proof)
        for task in proof.tasks:
            self._pool.help_with(task)

    @property
    def settings(self) -> Settings:
        """What it was made with."""
        return self._settings

    @property
    def policy(self) -> Policy:
        """Its rules."""
        return self._policy

    @property
    def decodable(self) -> frozenset[str]:
        """Transfer syntaxes of compressed pixel data that are not kept for being compressed."""
        return frozenset() if self._recompressor is None else DECODABLE

    @property
    def decoder(self) -> DecoderState | None:
        """How the decoder process is; None without `Recompress`."""
        return None if self._recompressor is None else self._recompressor.state

    def counters(self) -> tuple[CounterRow, ...]:
        """A snapshot of the totals by rule and reason."""
        return self._counters.rows()

    def _transcode(self, dicom: bytes, origin: str, progress: _Progress) -> Outcome:
        self._check_size(len(dicom))
        started = time.perf_counter_ns()
        received = memoryview(dicom)
        try:
            image = self._read(received, origin, progress)
        finally:
            progress.scan_ns = time.perf_counter_ns() - started
        if self._recompressor is not None and image.meta.transfer_syntax in DECODABLE:
            image = self._decoded(self._recompressor, image, progress)
        started = time.perf_counter_ns()
        try:
            new = self._encode(received, image, progress)
        finally:
            progress.encode_ns = time.perf_counter_ns() - started - progress.verify_ns
        if len(new) >= len(dicom):
            raise KeptError(Reason.NOT_SMALLER, f"{len(new)} bytes")
        if self._settings.dry_run:
            return replace(progress.outcome(Reason.DRY_RUN, progress.lost), bytes_out=len(new))
        return progress.outcome(Reason.LOSSY if progress.lost else Reason.TRANSCODED, progress.lost, new)

    def _check_size(self, size_bytes: int) -> None:
        if not self._settings.enable:
            raise KeptError(Reason.DISABLED)
        if size_bytes < self._settings.minimum_size_bytes:
            raise KeptError(Reason.TOO_SMALL)
        if size_bytes > self._settings.maximum_size_bytes:
            raise KeptError(Reason.TOO_LARGE)

    def _read(self, received: memoryview, origin: str, progress: _Progress) -> _Image:
        """Scan, ask the policy, and only then convert."""
        meta = read_file_meta(received)
        progress.source_syntax = meta.transfer_syntax
        if meta.sop_class == MEDIA_STORAGE_DIRECTORY:
            raise KeptError(Reason.DICOMDIR)
        syntax, decodable = meta.transfer_syntax, self.decodable
        header = open_data_set(received[meta.end :], syntax, self._settings.maximum_inflated_bytes, decodable)
        compressed = syntax in decodable
        if compressed:
            require_compressed_pixels(header)
        else:
            require_pixel_data(header)
        decision = self._decide(header, meta, origin, len(received))
        progress.rule = decision.rule
        if decision.target is None:
            raise KeptError(Reason.BY_RULE)
        progress.target_syntax = decision.target
        if compressed:
            if syntax == decision.target:
                raise KeptError(Reason.COMPRESSED, "as the rule wants it")
            if decision.loss is not None:
                raise KeptError(Reason.COMPRESSED, "lossy targets start from native pixel data only")
            layout = replace(attributes_of(header, decision.target), planar=False)
            return _Image(meta, header, layout, decision.target, header, len(received))
        layout = layout_of(header, decision.target)  # before a conversion: it is cheap, and often the end
        if decision.loss is not None:
            lossy.require_fit(meta, layout, self._lossy_codecs[decision.loss])
        header = as_explicit(header)
        return _Image(meta, header, layout, decision.target, header, len(received), decision.loss)

    def _decoded(self, recompressor: Recompressor, image: _Image, progress: _Progress) -> _Image:
        """The same with its pixels as if they had come native."""
        started = time.perf_counter_ns()
        try:
            pixels = recompressor.pixels(image.header, image.layout, image.meta.transfer_syntax)
        finally:
            progress.decode_ns = time.perf_counter_ns() - started
        return replace(image, pixels=pixels, held_bytes=image.held_bytes + len(pixels.view))

    def _decide(self, header: Header, meta: FileMeta, origin: str, size_bytes: int) -> Decision:
        facts = facts_of(header, transfer_syntax=meta.transfer_syntax, origin=origin, size_bytes=size_bytes)
        return self._policy.decide(facts)

    def _encode(self, received: memoryview, image: _Image, progress: _Progress) -> bytes:
        if image.loss is not None:
            return self._encode_with_loss(received, image, image.loss, progress)
        frames = Frames(image.pixels, image.layout, self._codecs[image.target])
        later = progress.may_wait and self._may_prove_later(image.target, image.held_bytes)
        verify = self._settings.verify and not later
        encoded = encode_frames(frames, self._pool, verify=verify, byte_limit=len(received))
        progress.verify_ns = encoded.verify_ns
        new = splice(received, image.meta, image.header, encoded.fragments, image.target)
        if later:
            sop_instance_uid = sop_instance_of(received, image.meta)
            progress.proof = Proof(proof_tasks(frames, encoded.fragments), image.held_bytes, sop_instance_uid)
        return new

    def _encode_with_loss(self, received: memoryview, image: _Image, loss: Loss, progress: _Progress) -> bytes:
        """Always measured here, whatever Verify says: what was lost is written into the file, and where it is too much the original is kept."""
        frames = lossy.frames_of(received, image.meta, image.header, image.layout, self._lossy_codecs[loss])
        encoded = encode_frames(frames, self._pool, verify=True, byte_limit=len(received))
        progress.verify_ns = encoded.verify_ns
        new = splice(received, image.meta, image.header, encoded.fragments, image.target)
        new, progress.lost = lossy.marked(new, frames, encoded.fragments)
        return new

    def _may_prove_later(self, target: Target, size_bytes: int) -> bool:
        """Whether the verdict may wait. Not for a target whose codec has failed: then originals are kept instead of refused."""
        settings, pending = self._settings, self._pending
        if pending is None or not settings.verify or settings.dry_run or target in self._distrusted:
            return False
        return pending.may_wait(size_bytes)
