"""Recognises the lines of the log that mark where an instance passes from one stage to the next."""

import re
from enum import Enum, auto
from typing import Final, NamedTuple

from .lines import LogLine


class Kind(Enum):
    """What a marker line tells."""

    RESTARTED = auto()
    HTTP_HEADER = auto()
    HTTP_REQUEST = auto()
    HTTP_POST_INSTANCE = auto()
    HTTP_FILE = auto()
    ZIP_FILE = auto()
    ASSOCIATION = auto()
    COMMAND = auto()
    STORE_REQUEST = auto()
    TRANSCODING = auto()
    PLUGIN_TRANSCODED = auto()
    TRANSCODED = auto()
    WRITING = auto()
    WRITTEN = auto()
    OVERWRITING = auto()
    NEW_INSTANCE = auto()
    CHANGE = auto()
    STORED = auto()
    NOT_STORED = auto()
    DUPLICATE = auto()
    REFUSED_FILE = auto()
    COMPRESSING_ANSWER = auto()


class Event(NamedTuple):
    """A marker line.

    `value` is the client of a STORE_REQUEST, the resource of a NEW_INSTANCE or STORED, the study of a CHANGE; empty
    where the line does not tell.
    """

    kind: Kind
    value: str = ""


# Beginning of the text, what it tells. The words are the same from 1.10 to 1.13 unless noted.
_MARKERS: Final = (
    ("HTTP header: [", Kind.HTTP_HEADER),
    ("Received Command:", Kind.COMMAND),
    ("Incoming Store request from AET ", Kind.STORE_REQUEST),
    ("Receiving a DICOM file of ", Kind.HTTP_FILE),
    ("Uploading DICOM file from ZIP archive: ", Kind.ZIP_FILE),
    ("DCMTK transcoding from ", Kind.TRANSCODING),
    ("Transcoded an image from transfer syntax ", Kind.TRANSCODED),
    # CreateMemoryBuffer: how a transcoder plugin, such as GDCM, hands back its result.
    ("Calling service 38 from plugin ", Kind.PLUGIN_TRANSCODED),
    ("Creating attachment ", Kind.WRITING),
    ("Created attachment ", Kind.WRITTEN),  # from 1.12
    ("Overwriting instance: ", Kind.OVERWRITING),
    ("Change related to resource ", Kind.CHANGE),
    ("New instance stored", Kind.STORED),
    ("Already stored", Kind.DUPLICATE),  # 1.10
    ("Instance already stored", Kind.DUPLICATE),  # 1.12
    ("An incoming instance has been discarded by the filter", Kind.NOT_STORED),
    ("An incoming instance ", Kind.DUPLICATE),  # from 1.13: "... ID has been discarded because it is already stored"
    ("Exception while storing DICOM: ", Kind.NOT_STORED),
    ("Store failure", Kind.NOT_STORED),
    ("Cannot import non-DICOM file from ZIP archive: ", Kind.NOT_STORED),
    ("Bad file format", Kind.REFUSED_FILE),
    ("Compressing a HTTP answer using ", Kind.COMPRESSING_ANSWER),
    ("Association Received from AET ", Kind.ASSOCIATION),
    ("Orthanc version: ", Kind.RESTARTED),
)
_BEGINNINGS: Final = tuple(beginning for beginning, _ in _MARKERS)
_METHODS: Final = ("GET ", "POST ", "PUT ", "DELETE ")
_REQUEST_FILES: Final = {"HttpServer.cpp", "ElapsedTimer.cpp"}  # the latter from 1.13
# From 1.12.8 a request has a second line, at its end: "POST /instances (elapsed: 11619 us)".
_ELAPSED: Final = re.compile(r" \(elapsed: \d+ us\)$")
_NEW_INSTANCE: Final = re.compile(r"Change related to resource (?:ID )?([0-9a-f-]{44}) of type Instance: NewInstance")
_STUDY: Final = re.compile(
    r"Change related to resource (?:ID )?([0-9a-f-]{44}) of type Study: New(?:Study|ChildInstance)"
)
_CLIENT: Final = re.compile(r"Incoming Store request from AET (.{0,64}?) on IP (\S{1,64}), calling")
_ORTHANC_ID: Final = re.compile(r"\(([0-9a-f-]{44})\)")


def event_of(line: LogLine) -> Event | None:
    """Return what `line` marks, or None for a line that marks nothing."""
    text = line.text
    if text.startswith(_METHODS):
        return _request(line)
    if not text.startswith(_BEGINNINGS):
        return None
    kind = next(kind for beginning, kind in _MARKERS if text.startswith(beginning))
    if kind is Kind.PLUGIN_TRANSCODED and "python" in text.lower():
        return None  # the Python plugin asks for memory in every callback
    return _with_value(kind, text)


def _with_value(kind: Kind, text: str) -> Event:
    if kind is Kind.CHANGE:
        found = _NEW_INSTANCE.match(text)
        if found:
            return Event(Kind.NEW_INSTANCE, found[1])
        study = _STUDY.match(text)
        return Event(kind, study[1] if study else "")
    if kind is Kind.STORE_REQUEST:
        found = _CLIENT.match(text)
        return Event(kind, f"{found[1]} on {found[2]}" if found else "")
    if kind is Kind.STORED:
        found = _ORTHANC_ID.search(text)
        return Event(kind, found[1] if found else "")
    return Event(kind)


def _request(line: LogLine) -> Event | None:
    if line.file not in _REQUEST_FILES or _ELAPSED.search(line.text):
        return None
    method, _, uri = line.text.partition(" ")
    path = uri.partition("?")[0].rstrip("/")
    posted = method == "POST" and path.endswith("/instances") and path.count("/") == 1
    return Event(Kind.HTTP_POST_INSTANCE if posted else Kind.HTTP_REQUEST)
