"""The stages of one instance, in the order they happen, and what each of them covers."""

from typing import Final, NamedTuple

WAIT: Final = "wait"
RECEIVE: Final = "receive"
TRANSCODE: Final = "transcode"
PREPARE: Final = "prepare"
WRITE: Final = "write"
STORE: Final = "store"
COMMIT: Final = "commit"
UNKNOWN: Final = "unknown"
TOTAL: Final = "total"

HTTP: Final = "http"
CSTORE: Final = "cstore"
JOB: Final = "job"
OTHER: Final = "other"
UNSEEN: Final = "unknown"


class Stage(NamedTuple):
    """One row of the table of stages."""

    name: str
    begins: str
    ends: str
    meaning: str


STAGES: Final = (
    Stage(
        WAIT,
        "answer to the instance before",
        "first byte of the data set",
        "waiting for the C-STORE SCU; only with an association watcher",
    ),
    Stage(
        RECEIVE,
        "first byte of the data set",
        "last byte of the data set",
        "receiving the data set; only with an association watcher",
    ),
    Stage(
        TRANSCODE, "callback entered with the bytes", "callback left", "our own callback: policy, scan, encode, verify"
    ),
    Stage(PREPARE, "callback left", "first write begins", "Orthanc parses, summarises, hashes and compresses"),
    Stage(WRITE, "first write begins", "last write ends", "our storage area; an image is written as two attachments"),
    Stage(
        STORE,
        "callback left",
        "index committed",
        "prepare, write and commit in one, where the storage area is not ours",
    ),
    Stage(
        COMMIT,
        "last write ends",
        "index committed",
        "the index transaction; where an instance is overwritten, removing the old attachments too",
    ),
    Stage(
        UNKNOWN,
        "a known event",
        "the next known event",
        "time that belongs to several stages because the event between them was not seen",
    ),
    Stage(TOTAL, "first of the above", "index committed", "the sum of the stages above, exactly"),
)

STAGE_NAMES: Final = tuple(stage.name for stage in STAGES)

# Labels of a metric must be bounded: what a caller invents is filed under "other".
# "unknown" is ours: an instance whose arrival was not seen.
PROTOCOLS: Final = (HTTP, CSTORE, JOB, OTHER, UNSEEN)


def known_protocol(protocol: str) -> str:
    """Return `protocol` if it is one of PROTOCOLS, else "other"."""
    return protocol if protocol in PROTOCOLS else OTHER
