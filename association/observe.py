"""Tells when a message of an association began and ended to arrive, and which message a callback has just got."""

from __future__ import annotations

from typing import NamedTuple

from .tcp_info import TcpInfo

_MS = 1_000_000
# A file in Orthanc and the bytes of its C-STORE request differ: on the wire there is the command and 12 bytes a PDU (16
# KB by default, 4 KB at least with DCMTK: 0.3 %; TLS adds 0.2 %), in the file the preamble and the file meta
# information; Orthanc writes sequences with lengths of its own. Wide is safe here: two associations that both fit mean
# no answer, never the wrong one.
_FIXED_SLACK_BYTES = 4096
_RELATIVE_SLACK = 50
# Waking costs tens of microseconds, looking three. The rest of a data set needs nothing from us, so a peer whose last
# message was large is left alone after the first bytes of the next for half the time that the last one took with its
# answer (a millisecond at least), and a message that goes on for longer is looked at ever more rarely. MaxPauseMs
# bounds both. Small instances may be stored and answered within that time, so they are never slept over.
FIRST_PAUSE_NS = 1 * _MS
_LARGE_BYTES = 64 * 1024


class ReceiveTimes(NamedTuple):
    """How long one data set was waited for, and how long it took to arrive.

    Attributes:
        waited_ns: from our last response to the first byte of the request; in steps of the kernel's tick, right on
            average.
        receiving_ns: from then to the last byte of the data set, to the watcher's pause (1 ms).
        queued_ns: from then to the callback: DCMTK parses, and callbacks wait for each other.
        cookie: names the association for as long as it lasts.
        follows: nothing was answered on it between the data set whose times were told last and this one.
    """

    waited_ns: int
    receiving_ns: int
    queued_ns: int = 0
    cookie: int = 0
    follows: bool = False


class Observation:
    """Follows what one association's peer is sending, from the counters of its connection; makes no system calls.

    A message is everything that arrives between two answers of ours: in DIMSE a C-STORE request and its data set. The
    kernel counts bytes, not messages; the count of segments sent tells that an answer lies between two looks.

    Args:
        now_ns: of the first look, on the clock of all later ones.
        info: counters at that time.
    """

    __slots__ = (
        "_answered_bytes",
        "_answered_ns",
        "_base_bytes",
        "_begin_ns",
        "_end_ns",
        "_last_begin_ns",
        "_last_bytes",
        "_received_bytes",
        "_segments_sent",
        "_told_bytes",
        "pause_ns",
    )

    def __init__(self, now_ns: int, info: TcpInfo) -> None:
        self._segments_sent = info.data_segments_sent
        self._received_bytes = self._base_bytes = self._answered_bytes = info.bytes_received
        self._last_bytes = 0
        self._told_bytes: int | None = None
        self.pause_ns = 0
        self._answered_ns = now_ns
        self._begin_ns: int | None = None
        self._last_begin_ns = now_ns
        self._end_ns = now_ns

    def look(self, now_ns: int, info: TcpInfo) -> None:
        """Takes in the counters at a wake-up."""
        if info.data_segments_sent != self._segments_sent:
            self._answer(now_ns, info)
        self.pause_ns = 0
        if info.bytes_received == self._received_bytes:
            return
        self._received_bytes = info.bytes_received
        self._end_ns = now_ns
        if self._begin_ns is None:
            if self._last_bytes >= _LARGE_BYTES:
                self.pause_ns = max(FIRST_PAUSE_NS, (now_ns - self._last_begin_ns) // 2)
            self._begin_ns = self._last_begin_ns = now_ns
        elif now_ns - self._begin_ns > 2 * FIRST_PAUSE_NS:
            self.pause_ns = (now_ns - self._begin_ns) // 2

    def _answer(self, now_ns: int, info: TcpInfo) -> None:
        # What was there at the last look belongs to the message that has been answered, whatever came later to the next
        # one.
        self._segments_sent = info.data_segments_sent
        self._last_bytes = self._received_bytes - self._answered_bytes
        self._answered_bytes = self._received_bytes
        self._base_bytes = max(self._base_bytes, self._received_bytes)
        self._answered_ns = max(self._end_ns, now_ns - info.last_data_sent_ms * _MS)
        self._begin_ns = None

    @property
    def unanswered(self) -> bool:
        """Whether at the last look a message had begun and was not answered."""
        return self._begin_ns is not None

    def fits(self, size_bytes: int, info: TcpInfo) -> bool:
        """Whether what has arrived since our last answer can be a file of this size; `info` is read now."""
        if info.data_segments_sent != self._segments_sent:
            return False  # answered since the last look: what it was is no longer waiting to be handed over
        slack = _FIXED_SLACK_BYTES + size_bytes // _RELATIVE_SLACK
        return abs(info.bytes_received - self._base_bytes - size_bytes) <= slack

    def take(self, now_ns: int, info: TcpInfo) -> ReceiveTimes | None:
        """Returns the times of the message that a callback has just got, once.

        Returns:
            None where the watcher did not see it begin (the message was shorter than one pause).
        """
        begin_ns, self._base_bytes = self._begin_ns, info.bytes_received
        # Bytes that the watcher has not looked at yet came within its pause: after its last look, and no later than the
        # kernel says.
        end_ns = self._end_ns
        if info.bytes_received != self._received_bytes:
            end_ns = max(end_ns, now_ns - info.last_data_received_ms * _MS)
        self._received_bytes = info.bytes_received
        follows = self._told_bytes is not None and self._told_bytes == self._answered_bytes
        self._told_bytes = None if begin_ns is None else info.bytes_received
        if begin_ns is None:
            return None
        end_ns = max(begin_ns, min(end_ns, now_ns))
        waited_ns = max(0, begin_ns - self._answered_ns)
        return ReceiveTimes(waited_ns, end_ns - begin_ns, now_ns - end_ns, follows=follows)
