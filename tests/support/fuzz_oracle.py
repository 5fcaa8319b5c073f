"""Checks what must hold of every file that goes through guard and transcoder, for both fuzzers.

Nothing is raised, no reason is an error, processor time and memory stay within bounds that the file's size gives; a
file that DCMTK's parser would follow deeper than allowed is refused; a transcoded file is smaller, has every other
element as it was, and decoders that are not the encoder find the same pixels in it.
"""

from __future__ import annotations

import ctypes
import re
import signal
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels import pixel_array

from guard import Guard
from guard import Settings as GuardSettings
from guard.received import Received
from guard.walk import count_items
from tests.support.independent import MAY_CHANGE, decoded_by_dcmtk, read
from tests.support.readers import PYDICOM
from tests.support.samples import SYNTAX
from transcoder import Lossy, Outcome, PendingProofs, Reason, Rule, Settings, Transcoder

DEEPEST = GuardSettings().max_sequence_depth
INFLATED_BYTES = 1 << 24
# Measured with the seeds as they are: a few MB and twice the file. What is inflated is held, and turned, and encoded.
MEMORY_BYTES, MEMORY_PER_BYTE = 6 * INFLATED_BYTES, 8
# One step per eight bytes is the worst there can be, at less than 4 microseconds a step on a slow machine, in three
# encodings.
GUARD_S, GUARD_S_PER_BYTE = 1.0, 2e-6
# JPEG 2000 of the largest seed takes a twentieth of this.
TRANSCODE_S, TRANSCODE_S_PER_BYTE = 5.0, 1e-5

_INDENT = re.compile(rb"^ *", re.MULTILINE)
_STATUS = re.compile(r"VmHWM:\s+(\d+) kB")


class Oracle:
    """Two transcoders for each target, and a guard; counts how files ended.

    Attributes:
        ends: how many files ended how.
        checked: how many of the checks by other programs were made, by name.
        peak_bytes: most memory that one file took beyond what was in use before it.
        slowest_s: most processor time that one file took.
    """

    def __init__(self) -> None:
        self.guard = Guard(GuardSettings(max_inflated_bytes=INFLATED_BYTES))
        self.targets = list(SYNTAX)
        self.pending = PendingProofs()
        self.pending.settle(b"")  # proofs wait once somebody has asked for one
        # As with Orthanc's own storage area, and as with the bundle's, where the proof ends after `transcode`.
        self.transcoders = [
            Transcoder(Settings(default=target, maximum_inflated_bytes=INFLATED_BYTES), pending)
            for pending in (None, self.pending)
            for target in self.targets
        ]
        # Rules that lose something read more of a file than the others, and put elements into it.
        rules = (
            Rule(action="JPEGLSNearLossless", lossy=Lossy(maximum_error=3)),
            Rule(action="JPEG2000", lossy=Lossy(maximum_rms_error=6, again=True)),
        )
        self.lossy = [Transcoder(Settings(rules=(rule,), maximum_inflated_bytes=INFLATED_BYTES)) for rule in rules]
        self.ends: Counter[str] = Counter()
        self.checked: Counter[str] = Counter()
        self.peak_bytes = 0
        self.slowest_s = 0.0

    def feed(self, name: str, dicom: bytes, number: int) -> None:
        """One file through all that reads it.

        Args:
            name: for the message.
            dicom: any bytes.
            number: decides about the transcoder.

        Raises:
            AssertionError: what is held of every file does not hold.
        """
        refusal, outcome = self._measured(name, dicom, self.transcoders[number % len(self.transcoders)])
        assert outcome.reason is not Reason.ERROR, f"{name}: {outcome.detail}"
        assert outcome.reason is not Reason.VERIFICATION_FAILED, f"{name}: {outcome.detail}"
        self.ends["refused" if refusal else str(outcome.reason)] += 1
        if not refusal:
            self._check_depth(name, dicom)
        if outcome.dicom is not None:
            assert len(outcome.dicom) < len(dicom)
            self._check_new_file(name, dicom, outcome.dicom, self.targets[number % len(self.targets)])
        self._feed_with_loss(name, dicom, number)

    def _feed_with_loss(self, name: str, dicom: bytes, number: int) -> None:
        outcome = self.lossy[number % len(self.lossy)].transcode(dicom, "http")
        assert outcome.reason not in {Reason.ERROR, Reason.VERIFICATION_FAILED}, f"{name}: {outcome.detail}"
        if outcome.dicom is not None:
            assert len(outcome.dicom) < len(dicom)
            self.ends[str(outcome.reason)] += 1

    def _measured(self, name: str, dicom: bytes, transcoder: Transcoder) -> tuple[str, Outcome]:
        forget_peak()
        memory, begun = peak_bytes(), time.process_time()
        refusal = self.guard.refusal(dicom, "http")
        guarded = time.process_time()
        outcome = transcoder.transcode(dicom, "http")
        failure = self.pending.settle(outcome.dicom or b"")
        ended = time.process_time()
        grown = peak_bytes() - memory
        self.peak_bytes, self.slowest_s = max(self.peak_bytes, grown), max(self.slowest_s, ended - begun)
        # A few kilobytes may inflate to what is allowed.
        size = INFLATED_BYTES if Received(dicom).deflated else len(dicom)
        assert failure == "", f"{name}: {failure}"
        assert guarded - begun < GUARD_S + size * GUARD_S_PER_BYTE, f"{name}: the guard took {guarded - begun:.1f} s"
        assert ended - guarded < TRANSCODE_S + size * TRANSCODE_S_PER_BYTE, f"{name}: took {ended - guarded:.1f} s"
        assert grown < MEMORY_BYTES + size * MEMORY_PER_BYTE, f"{name}: {grown >> 20} MB for {size} bytes"
        return refusal, outcome

    def _check_depth(self, name: str, dicom: bytes) -> None:
        """What the guard lets pass, DCMTK's parser does not follow deeper than allowed."""
        if count_items(dicom) <= DEEPEST and not Received(dicom).deflated:
            return  # there is nothing in it to be deep with
        self.checked["depth by dcmdump"] += 1
        depth = depth_by_dcmtk(dicom)
        assert depth <= DEEPEST, f"{name}: the guard lets pass what dcmdump follows {depth} sequences deep"

    def _check_new_file(self, name: str, dicom: bytes, new: bytes, target: str) -> None:
        try:
            sent = read(dicom)
            expected = pixel_array(sent, raw=True)
        except Exception as error:  # noqa: BLE001 - whatever pydicom makes of a broken header
            self.checked[f"not read by pydicom as sent: {type(error).__name__}"] += 1
            return
        stored = read(new)
        assert_same_raw_elements(name, sent, stored)
        self.checked["elements by pydicom"] += 1
        found = self._decoded(dicom, new, stored, target)
        if found is not None:
            assert expected.shape == found.shape, f"{name}: {expected.shape} became {found.shape}"
            assert np.array_equal(expected, found), f"{name}: other pixels"

    def _decoded(self, dicom: bytes, new: bytes, stored: Dataset, target: str) -> NDArray[np.generic] | None:
        """By a decoder that is not the encoder; None where that program cannot even read what was sent."""
        if target in PYDICOM:
            self.checked[f"pixels by {PYDICOM[target]}, {target}"] += 1
            return pixel_array(stored, raw=True, decoding_plugin=PYDICOM[target])
        try:
            decompressed = decoded_by_dcmtk(new, "dcmdjpeg")
        except AssertionError:
            assert not readable_by_dcmtk(dicom), "dcmdjpeg cannot read the new file, and dcmdump can read the old one"
            self.checked["not read by DCMTK as sent"] += 1
            return None
        self.checked[f"pixels by dcmdjpeg, {target}"] += 1
        return pixel_array(read(decompressed), raw=True)


def assert_same_raw_elements(name: str, sent: Dataset, stored: Dataset) -> None:
    """Every element but pixel data: its bytes, or (big endian, sequences) the value that pydicom reads."""
    differing = {tag for tag in sent.keys() ^ stored.keys() if tag.elem != 0 and tag not in (0x7FE00001, 0x7FE00002)}
    assert not differing, f"{name}: elements gone or new: {differing}"
    for tag in sent.keys():  # noqa: SIM118 - iterating a Dataset converts every value
        old, new = sent.get_item(tag), stored.get_item(tag)
        if tag.elem == 0 or old == new or _raw(old) == _raw(new):
            continue
        if sent[tag].keyword not in MAY_CHANGE:
            assert repr(sent[tag].value) == repr(stored[tag].value), f"{name}: {tag}"


def _raw(element: object) -> object:
    return getattr(element, "value", element)


def depth_by_dcmtk(dicom: bytes) -> int:
    """How many nested sequences dcmdump prints: each is indented by two steps, the content of an item by one more."""
    done = _dcmdump(dicom, "-q", "+L")
    # It aborts of exceptions that Orthanc, on the same parser, catches; from a stack that overflows there is no way
    # back.
    assert done.returncode != -signal.SIGSEGV, "dcmdump died of a segmentation fault"
    deepest = max((len(indent[0]) for indent in _INDENT.finditer(done.stdout)), default=0)
    return -(-deepest // 4)


def readable_by_dcmtk(dicom: bytes) -> bool:
    """Whether dcmdump reads the file to its end."""
    return _dcmdump(dicom, "-q").returncode == 0


def _dcmdump(dicom: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "in.dcm"
        path.write_bytes(dicom)
        return subprocess.run(["dcmdump", *options, str(path)], capture_output=True, check=False, timeout=120)


def give_memory_back() -> None:
    """Makes malloc return larger blocks to the kernel when they are freed, so that each file's own peak shows."""
    threshold = -3  # M_MMAP_THRESHOLD, mallopt(3)
    ctypes.CDLL(None).mallopt(threshold, 16 << 10)


def forget_peak() -> None:
    """Let the kernel count this process's peak memory anew: proc(5), clear_refs."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """Most memory this process held at a time since `forget_peak`."""
    found = _STATUS.search(Path("/proc/self/status").read_text())
    return int(found[1]) * 1024 if found else 0
