"""The callbacks for received instances and for changes; `plugin.storage_callbacks` has those of the storage area.

They only pass on: what to do is decided by the packages. None of them calls `orthanc.RestApi*`, which keeps Python's
lock without AllowThreads and deadlocks against a storage callback. None raises: an exception that leaves a callback
keeps its frames for ever, and with them the instance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from support.one_line import one_line
from timing import server_timing

from . import thread_states

if TYPE_CHECKING:
    from orthanc import DicomInstance

    from association import Tuner
    from guard import Guard
    from timing import Recorder
    from timing.slowest import Finished
    from transcoder import Outcome, Transcoder

logger = logging.getLogger(__name__)

_POST = 2  # the SDK's HttpMethod, as callbacks get it
_STEPS = ("scan", "decode", "encode", "verify")


class _Decision(NamedTuple):
    """What becomes of a received instance: the answer to the core, and what stage timing is told."""

    answer: tuple[int, bytes | None]
    reason: str = ""
    steps: dict[str, int] | None = None


class IngestCallbacks:
    """ReceivedInstance, OnStoredInstance and the HTTP request filter: guard, transcoding and stage timing.

    Args:
        sdk: the `orthanc` module.
        transcoder: None where transcoding is off.
        recorder: None where timing is off.
        tuner: None where the association watcher is off; tells when a data set began to arrive.
        clock_ns: the monotonic clock that recorder and tuner share.
        log_each: whether each stored instance gets a line with its stages.
        guard: None where the guard is off.
    """

    def __init__(
        self,
        sdk: ModuleType,
        transcoder: Transcoder | None,
        recorder: Recorder | None,
        tuner: Tuner | None,
        clock_ns: Callable[[], int],
        *,
        log_each: bool = False,
        guard: Guard | None = None,
    ) -> None:
        self._guard = guard
        self._transcoder = transcoder
        self._recorder = recorder
        self._tuner = tuner
        self._clock_ns = clock_ns
        self._log_each = log_each
        origins = sdk.InstanceOrigin
        # By number, which is how callbacks get an enumeration: the origin of transcoding rules, the protocol of stage
        # timing.
        self._origins = {
            int(origins.DICOM_PROTOCOL): ("cstore", "cstore"),
            int(origins.REST_API): ("http", "http"),
            int(origins.WEB_DAV): ("webdav", "http"),
            int(origins.PLUGIN): ("plugin", "job"),
            int(origins.LUA): ("lua", "job"),
        }
        actions = sdk.ReceivedInstanceAction
        self._keep = (int(actions.KEEP_AS_IS), None)
        self._modify = int(actions.MODIFY)

    def received(self, dicom: bytes, origin: int) -> tuple[int, bytes | None]:
        """ReceivedInstance: gives the instance as it is to be stored. Orthanc calls it on one thread at a time."""
        try:
            thread_states.keep()
            source, protocol = self._origins.get(origin, ("unknown", "other"))
            if self._recorder is not None:
                self._record_received(self._recorder, protocol, len(dicom))
            decision = self._decide(dicom, source)
            if self._recorder is not None:
                self._recorder.transcoded(decision.reason, decision.steps)
            return decision.answer
        except Exception as error:  # noqa: BLE001 - at any error the instance is stored as received
            logger.error("received instance kept as it is: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line
            return self._keep

    def _decide(self, dicom: bytes, source: str) -> _Decision:
        refusal = self._guard.refusal(dicom, source) if self._guard is not None else ""
        if refusal:
            # Orthanc parses what is kept, and what is discarded too. So the file is replaced by a line of text, which
            # Orthanc answers with HTTP 400.
            return _Decision((self._modify, f"Refused by the ingest guard: {refusal}".encode("ascii")), "refused")
        if self._transcoder is None:
            return _Decision(self._keep)
        outcome = self._transcoder.transcode(dicom, source)
        answer = (self._modify, outcome.dicom) if outcome.transcoded and outcome.dicom is not None else self._keep
        return _Decision(answer, str(outcome.reason), _steps(outcome) if self._recorder is not None else None)

    def _record_received(self, recorder: Recorder, protocol: str, size_bytes: int) -> None:
        times = None
        if self._tuner is not None and protocol == "cstore":
            times = self._tuner.receive_times(size_bytes, self._clock_ns())
        if times is None:
            recorder.received(protocol, size_bytes)
        else:
            recorder.received(
                protocol,
                size_bytes,
                waited_ns=times.waited_ns,
                receiving_ns=times.receiving_ns,
                queued_ns=times.queued_ns,
                association=times.cookie,
                follows=times.follows,
            )

    def request_began(self, uri: str, **request: Any) -> bool:
        """IncomingHttpRequestFilter, called before the body is read: allows every request."""
        try:
            if self._recorder is not None:
                self._recorder.request_began(upload=uri == "/instances" and request.get("method") == _POST)
        except Exception as error:  # noqa: BLE001 - timing never costs a request
            logger.error("stage timing: %s", one_line(error))  # noqa: TRY400
        return True

    def stored(self, instance: DicomInstance, orthanc_id: str) -> None:
        """OnStoredInstance: the index transaction is committed."""
        try:
            if self._recorder is not None:
                finished = self._recorder.committed(orthanc_id, _client(instance), wanted=self._log_each)
                if self._log_each and finished is not None:
                    self._log(finished)
        except Exception as error:  # noqa: BLE001 - timing never costs an instance
            logger.error("stage timing lost an instance: %s: %s", type(error).__name__, error)  # noqa: TRY400

    def _log(self, finished: Finished) -> None:
        one = finished.in_flight
        logger.info(
            "stored %s %s %s %d bytes: %s",
            finished.orthanc_id,
            one.protocol,
            one.client,
            one.size_bytes,
            server_timing(finished),
        )


def _steps(outcome: Outcome) -> dict[str, int]:
    """The time of each step of the transcoder, in nanoseconds; 0 for a step that it does not have."""
    return {name: getattr(outcome, f"{name}_ns", 0) for name in _STEPS}


def _client(instance: DicomInstance) -> str:
    """The sender of an instance: its calling AE title, else its address, else empty (a job, Lua, another plugin).

    Neither call takes a lock of the core. An AE title that is not UTF-8 raises in the plugin.
    """
    try:
        return instance.GetInstanceRemoteAet() or instance.GetInstanceMetadata("RemoteIP") or ""
    except Exception:  # noqa: BLE001 - OrthancException, UnicodeDecodeError: no name
        return "(unreadable)"


class ChangeCallback:
    """OnChange: starts and stops the sections, on the core's own thread for changes.

    Args:
        actions: by the number of the change (the SDK's ChangeType).
    """

    def __init__(self, actions: dict[int, Callable[[], None]]) -> None:
        self._actions = actions

    def __call__(self, change_type: int, _level: int, _orthanc_id: str) -> None:
        """Handles one change; each instance that is stored brings four, and nothing is to be done about them."""
        action = self._actions.get(change_type)
        if action is None:
            return
        try:
            thread_states.keep()  # with ORTHANC_STARTED, the first change there is an action for
            action()
        except Exception as error:  # noqa: BLE001 - the core would only log it; so do we, in one line
            logger.error("%s failed: %s", action.__name__, one_line(error))  # noqa: TRY400
