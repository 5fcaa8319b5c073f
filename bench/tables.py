"""The tables of `make bench`, like those of Orthanc's benchmark: rows are servers, columns are ways of sending."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .orthanc_senders import Move, MoveTo, MoveToAnother, Peer
from .sending import Dcmsend, HttpKeepAlive, HttpReconnecting, Pynetdicom, Storescu, Way

PARALLEL = (1, 2, 4, 8, 16)
NODELAY, BUFFER = {"TCP_NODELAY": "1"}, {"TCP_BUFFER_LENGTH": "129076"}


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: its heading.
        rows: names of variants; ratios are against `baseline`.
        columns: label to way of sending, made anew for each cell.
        disk: "own" or "slow", see slow_disk.py.
        deletes: the study is deleted at the end of each cell, by one DELETE.
    """

    title: str
    rows: Sequence[str]
    columns: dict[str, Callable[[], Way]] = field(default_factory=dict)
    disk: str = "own"
    deletes: bool = True
    baseline: str = "native"


def at_once(kind: type[Way], unit: str, counts: Sequence[int] = PARALLEL) -> dict[str, Callable[[], Way]]:
    """A column for each number of senders at once."""
    return {f"{count} {unit}": lambda count=count: kind(parallel=count) for count in counts}  # type: ignore[misc]


THREADS = ("native, DicomThreadsCount 1", "native, DicomThreadsCount 16")
DELAYED_DELETION = "native, C++ DelayedDeletion"
NATIVE_TRANSCODING = ("native .70 by DCMTK", "native .70 by GDCM")
BUNDLE = ("bundle", "bundle .70", "bundle .80", "bundle .201")

TABLES: dict[str, Table] = {
    "storescu": Table(
        "storescu",
        ("native", *THREADS, *NATIVE_TRANSCODING, "tuner alone", "bundle, tuner off", *BUNDLE),
        at_once(Storescu, "storescu"),
    ),
    "http": Table(
        "HTTP client (keep-alive)",
        ("native", *NATIVE_TRANSCODING, DELAYED_DELETION, "deletion alone", "timing alone", *BUNDLE),
        at_once(HttpKeepAlive, "clients"),
    ),
    "reconnecting": Table(
        "HTTP client (a connection for each instance)",
        ("native", "bundle"),
        at_once(HttpReconnecting, "clients", (1, 4, 16)),
    ),
    "dcmsend": Table("dcmsend", ("native", "bundle"), at_once(Dcmsend, "dcmsend")),
    "pynetdicom": Table("pynetdicom", ("native", "bundle"), at_once(Pynetdicom, "pynetdicom")),
    "orthanc": Table(
        "Orthanc to Orthanc, the source native",
        ("native", "bundle", "bundle .70"),
        {"C-MOVE": Move, "peer (HTTP)": Peer},
    ),
    "environment": Table(
        "The environment of DCMTK at either end, one storescu",
        ("native", "TCP_NODELAY=1 for Orthanc", "TCP_BUFFER_LENGTH=129076 for Orthanc", "tuner alone"),
        {
            "sender as it is": Storescu,
            "sender with TCP_NODELAY=1": lambda: Storescu(environment=NODELAY),
            "sender with TCP_BUFFER_LENGTH=129076": lambda: Storescu(environment=BUFFER),
        },
        deletes=False,
    ),
    "move": Table(
        "C-MOVE from Orthanc to a storage SCP of DCMTK",
        ("native", "TCP_NODELAY=1 for Orthanc", "TCP_BUFFER_LENGTH=129076 for Orthanc", "tuner alone"),
        {
            "SCP in the SCU's process": MoveTo,
            "SCP in another": MoveToAnother,
            "same process, TCP_NODELAY=1 there": lambda: MoveTo(environment=NODELAY),
        },
        deletes=False,
    ),
    "slow storescu": Table(
        "storescu, storage on a slow disk", ("native", "bundle"), at_once(Storescu, "storescu", (1, 4)), disk="slow"
    ),
    "slow http": Table(
        "HTTP client, storage on a slow disk",
        ("native", DELAYED_DELETION, "bundle"),
        at_once(HttpKeepAlive, "clients", (1, 4)),
        disk="slow",
    ),
}
# Enough to see that everything works, in less than three minutes.
QUICK: dict[str, Table] = {
    "storescu": Table(
        "storescu", ("native", "native .70 by DCMTK", "bundle", "bundle .201"), at_once(Storescu, "storescu", (1, 4))
    ),
    "http": Table("HTTP client (keep-alive)", ("native", "bundle"), at_once(HttpKeepAlive, "clients", (1, 4))),
    "orthanc": Table(
        "Orthanc to Orthanc, the source native", ("native", "bundle"), {"C-MOVE": Move, "peer (HTTP)": Peer}
    ),
}
