"""Compresses DICOM files as they are received: lossless, unless a rule says how much may be lost.

The package takes the bytes of a DICOM Part 10 file. It returns the bytes of the same file with compressed pixel data,
or the reason why the original is to be kept. Every other element stays byte for byte as it was; only where something
was lost, the file says so. The package knows nothing of the server that it runs in.

Its folders form layers, and each imports only those below it (import-linter holds it):

    explain, transcoder                              the entrance
    reading, encoding, instance                      one instance: read, decided, encoded
    lossy/                                           compression within a bound
    codecs/ decoding/ output/ policy/ proof/         these do not know one another
    input/                                           reads the received file
    counters, outcome, settings, syntaxes            what all of them share
"""

from .counters import CounterRow
from .decoding.supervisor import DecoderState
from .explain import Explanation, explain
from .outcome import Outcome, Reason
from .policy.policy import check
from .proof.pending import PendingProofs
from .settings import Lossy, Rule, Settings
from .transcoder import Transcoder

__all__ = [
    "CounterRow",
    "DecoderState",
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
