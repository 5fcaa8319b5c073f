"""The stages of one instance, in the order they happen, and what each of them covers."""

from typing import Final, NamedTuple

RESPONSE: Final = "response"
WAIT: Final = "wait"
RECEIVE: Final = "receive"
QUEUE: Final = "queue"
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
        RESPONSE,
        "index transaction of the instance before on this association",
        "Orthanc's answer to it has left",
        "answering the C-STORE SCU, told with the instance that follows; only with an association watcher",
    ),
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
        "receiving the data set; over HTTP from the request's headers to the callback; only where it is watched",
    ),
    Stage(
        QUEUE,
        "last byte of the data set",
        "callback entered with the bytes",
        "DCMTK parses, then the callback's turn, which one instance at a time has; only with an association watcher",
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


class Step(NamedTuple):
    """A part of one stage. The steps of a stage add up to it exactly, where they are known at all."""

    stage: str
    name: str
    meaning: str


STEPS: Final = (
    Step(TRANSCODE, "scan", "reading the header, asking the rules, making it explicit little endian where it was not"),
    Step(TRANSCODE, "decode", "decoding pixels that came compressed"),
    Step(TRANSCODE, "encode", "checking and encoding pixels, building the new file"),
    Step(TRANSCODE, "verify", "decoding what was encoded, and comparing"),
    Step(TRANSCODE, "other", "the rest of the callback: counting, waiting for Python's lock"),
    Step(WRITE, "file", "making and writing the files"),
    Step(WRITE, "sync", "waiting for the disk (SyncStorageArea)"),
    Step(WRITE, "verify", "after that, the rest of proving that the transcoded pixels are those received"),
    Step(WRITE, "between", "between two files of one instance: Orthanc hashes, and compresses with StorageCompression"),
)

# Steps are kept beside stages, as "stage.step".
STEP_NAMES: Final = tuple(f"{step.stage}.{step.name}" for step in STEPS)
NAMES: Final = STAGE_NAMES + STEP_NAMES

# Labels of a metric must be bounded: what a caller invents is filed under "other".
# "unknown" is ours: an instance whose arrival was not seen.
PROTOCOLS: Final = (HTTP, CSTORE, JOB, OTHER, UNSEEN)


def known_protocol(protocol: str) -> str:
    """Return `protocol` if it is one of PROTOCOLS, else "other"."""
    return protocol if protocol in PROTOCOLS else OTHER
