"""What the transcoder knows of one instance: `Progress` from its arrival on, `Image` once it was read."""

from __future__ import annotations

from dataclasses import dataclass

from dicom.file_meta import FileMeta

from .input.header import Header
from .input.pixels import Layout
from .outcome import Outcome, Reason
from .policy.loss import Loss
from .proof.pending import Proof
from .syntaxes import Target


@dataclass(slots=True)
class Progress:
    """What is known of an instance so far, for the outcome of one that fails half-way.

    Attributes:
        may_wait: whether its proof may end after `Transcoder.transcode` has returned.
        proof: the proof that is still to be done, if any.
        lost: what was lost, in one line; empty where nothing was.
    """

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
        """The outcome with all that is known; ``dicom`` is the new file, None where the original is kept."""
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
class Image:
    """An instance that is to be transcoded, read and checked.

    Attributes:
        pixels: where its native pixel data is; ``header`` itself unless it came compressed.
        held_bytes: memory that it takes until it is proven.
    """

    meta: FileMeta
    header: Header
    layout: Layout
    target: Target
    pixels: Header
    held_bytes: int
    loss: Loss | None = None
