"""Transcoding of DICOM files on their way into an archive: lossless, unless a rule names what may be lost.

The package takes the bytes of a DICOM Part 10 file and gives back either the bytes of the same file with its pixel data
encapsulated (every other element byte for byte as it was, but where something was lost, which the file then says), or
the reason why the original is to be kept. It knows nothing of the server it runs in.
"""

from .counters import CounterRow
from .explain import Explanation, explain
from .outcome import Outcome, Reason
from .policy.policy import check
from .proof.pending import PendingProofs
from .settings import Lossy, Rule, Settings
from .transcoder import Transcoder

__all__ = [
    "CounterRow",
    "Explanation",
    "Lossy",
    "Outcome",
    "PendingProofs",
    "Reason",
    "Rule",
    "Settings",
    "Transcoder",
    "check",
    "explain",
]
