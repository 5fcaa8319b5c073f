"""Measures from outside whether a DICOM peer stalls: one association at a time, a bounded number of messages."""

from __future__ import annotations

import socket
import statistics
from collections.abc import Callable

import msgspec

from dicom.uids import IMPLICIT_LITTLE_ENDIAN

from . import dimse
from .part10 import Instance
from .peer import Peer

MAX_COUNT = 1000
# A kernel acknowledges the first dozen or so segments of a connection at once whatever happens (quick-ack credit), so
# fewer than twenty stores may not show a stall that is there.
MAX_STORE_COUNT = 100
CALLING_AE_TITLE = "ASSOC-PROBE"
# Linux delays an acknowledgement by 40 ms, Windows and BSD by up to 200: half the shortest tells a stall from a slow
# peer.
STALL_MS = 20.0


class Measurement(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Round trips of one association, in ms."""

    count: int
    p50_ms: float
    min_ms: float
    max_ms: float
    stalled: int = 0  # of `count`: took at least `STALL_MS` longer than the same thing does where nothing can stall


class Report(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """What was measured, and what it means in words."""

    peer: str
    echo_delayed: Measurement  # our kernel delays its acknowledgements, as everyone's does by default
    echo_quick: Measurement  # it acknowledges at once
    response_stalls: bool
    store_nagle: Measurement | None = None  # sent as an unmodified DCMTK tool does
    store_no_delay: Measurement | None = None
    data_set_end_stalls: bool | None = None
    findings: list[str] = []


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """The peer to measure, and the AE titles to use."""

    host: str
    port: int
    calling: str = CALLING_AE_TITLE
    called: str = "ANY-SCP"
    timeout_s: float = 10.0


def run(
    target: Target, count: int = 20, instance: Instance | None = None, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """Measures two associations with `count` C-ECHOs each; with `instance` two more that store it.

    Args:
        target: the peer.
        count: round trips in each association, at most `MAX_COUNT`.
        instance: sent at most `MAX_STORE_COUNT` times in each association; the peer keeps it.
        progress: told what begins.

    Raises:
        ProbeError: the peer cannot be measured.
        ValueError: a count or an AE title that is not possible.
    """
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"--count {count}: expected 1 to {MAX_COUNT}")
    progress(f"{count} C-ECHOs, acknowledgements delayed")
    delayed = _echoes(target, count, quick_ack=False)
    progress(f"{count} C-ECHOs, acknowledgements at once")
    quick = _echoes(target, count, quick_ack=True)
    nagle: list[float] = []
    no_delay: list[float] = []
    if instance is not None:
        stores = min(count, MAX_STORE_COUNT)
        progress(f"{stores} C-STOREs, Nagle's algorithm on")
        nagle = _stores(target, instance, stores, no_delay=False)
        progress(f"{stores} C-STOREs, TCP_NODELAY")
        no_delay = _stores(target, instance, stores, no_delay=True)
    return judge(target, delayed, quick, nagle, no_delay)


def _echoes(target: Target, count: int, *, quick_ack: bool) -> list[float]:
    with Peer(target.host, target.port, timeout_s=target.timeout_s, no_delay=True, quick_ack=quick_ack) as peer:
        peer.associate(target.calling, target.called, dimse.VERIFICATION, IMPLICIT_LITTLE_ENDIAN)
        return [peer.echo() * 1000 for _ in range(count)]


def _stores(target: Target, instance: Instance, count: int, *, no_delay: bool) -> list[float]:
    # Acknowledging at once on our side, so that a stall of the response is not taken for one of the data set.
    with Peer(target.host, target.port, timeout_s=target.timeout_s, no_delay=no_delay, quick_ack=True) as peer:
        peer.associate(target.calling, target.called, instance.sop_class, instance.transfer_syntax)
        return [peer.store(instance) * 1000 for _ in range(count)]


def _measurement(times_ms: list[float], baseline_ms: float) -> Measurement:
    return Measurement(
        count=len(times_ms),
        p50_ms=round(statistics.median(times_ms), 3),
        min_ms=round(min(times_ms), 3),
        max_ms=round(max(times_ms), 3),
        stalled=sum(one >= baseline_ms + STALL_MS for one in times_ms),
    )


def judge(
    target: Target, delayed: list[float], quick: list[float], nagle: list[float], no_delay: list[float]
) -> Report:
    """Judges four lists of round trips (ms); the last two are empty where nothing was stored."""
    base_ms = statistics.median(quick)
    echo_delayed, echo_quick = _measurement(delayed, base_ms), _measurement(quick, base_ms)
    response_stalls = echo_delayed.p50_ms - echo_quick.p50_ms >= STALL_MS
    findings = [_response_finding(echo_delayed, echo_quick, stalls=response_stalls)]
    store_nagle = store_no_delay = data_set_end_stalls = None
    if nagle and no_delay:
        base_ms = statistics.median(no_delay)
        store_nagle, store_no_delay = _measurement(nagle, base_ms), _measurement(no_delay, base_ms)
        # Not the median: of large data sets only some stall, as it takes a last segment that is small and a peer that
        # delays just then.
        data_set_end_stalls = store_nagle.stalled - store_no_delay.stalled >= max(2, len(nagle) // 10)
        findings.append(_store_finding(store_nagle, store_no_delay, stalls=data_set_end_stalls))
    return Report(
        peer=f"{target.host}:{target.port}",
        echo_delayed=echo_delayed,
        echo_quick=echo_quick,
        response_stalls=response_stalls,
        store_nagle=store_nagle,
        store_no_delay=store_no_delay,
        data_set_end_stalls=data_set_end_stalls,
        findings=findings,
    )


def _response_finding(delayed: Measurement, quick: Measurement, *, stalls: bool) -> str:
    lost_ms = delayed.p50_ms - quick.p50_ms
    if stalls:
        return (
            f"The peer's responses stall {lost_ms:.0f} ms: it writes each in two small segments with Nagle's "
            "algorithm on, so the second waits until the sender acknowledges the first, which senders delay. Change "
            "at the peer: TCP_NODELAY (environment variable TCP_NODELAY=1 for what is built on DCMTK, NoDelay of "
            "DicomAssociations for Orthanc). If it is not yours to change, acknowledge at once on the sending side: "
            "QuickAck of DicomAssociations where Orthanc sends, or the route option quickack."
        )
    if not hasattr(socket, "TCP_QUICKACK"):
        return (
            f"C-ECHO takes {delayed.p50_ms:.1f} ms (p50). This system has no TCP_QUICKACK to compare with: about 40 "
            "or 200 ms on a local network is the sign of a stalled response."
        )
    return (
        f"The peer's responses do not stall: C-ECHO takes {quick.p50_ms:.1f} ms (p50), acknowledgements delayed or not."
    )


def _store_finding(nagle: Measurement, no_delay: Measurement, *, stalls: bool) -> str:
    if stalls:
        return (
            f"The end of a data set stalls ({nagle.stalled} of {nagle.count} C-STOREs, up to "
            f"{nagle.max_ms - no_delay.p50_ms:.0f} ms each) when the sender leaves Nagle's algorithm on: its last "
            "small segment waits for an acknowledgement that the peer delays. Change at the peer: QuickAck of "
            "DicomAssociations for Orthanc; or at each sender: TCP_NODELAY=1 for DCMTK's tools."
        )
    return (
        f"The end of a data set does not stall: C-STORE takes {nagle.p50_ms:.1f} ms (p50) as DCMTK sends, "
        f"{no_delay.p50_ms:.1f} ms with TCP_NODELAY."
    )
