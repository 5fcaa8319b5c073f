"""What Orthanc calls: bytes in, a core's answer out. No policy here.

Nothing in this module calls `orthanc.RestApi*` (without AllowThreads it keeps the GIL and deadlocks against a storage
callback), and nothing but a refused `create` or `read` raises, because a raise out of a callback keeps its frames, and
with them the instance, for ever.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deferred_delete.studies.dicom_header import NotDicomError, inflate
from support.one_line import one_line
from timing import server_timing

if TYPE_CHECKING:
    from orthanc import DicomInstance

    from association import Tuner
    from deferred_delete import DeferredStorageArea
    from guard import Guard
    from timing import Recorder
    from timing.slowest import Finished
    from transcoder import Outcome, PendingProofs, Transcoder

logger = logging.getLogger(__name__)

_POST = 2  # the SDK's HttpMethod, as callbacks get it
_DICOM = 1  # the SDK's ContentType, as callbacks get it
_STEPS = ("scan", "decode", "encode", "verify")
# Enough of a file to read which instance it is.
_BEGINNING_BYTES = 4096


class StorageRefusedError(Exception):
    """An attachment could not be written or read; Orthanc answers its client with an error and keeps nothing."""


class IngestCallbacks:
    """ReceivedInstance and OnStoredInstance: the guard, transcoding, and the first and last moment of an instance's stages.

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
        # Integers: the enumerations of the SDK arrive as such in callbacks. First what transcoding rules call an
        # origin, then what stage timing calls its protocol.
        self._origins = {
            int(origins.DICOM_PROTOCOL): ("cstore", "cstore"),
            int(origins.REST_API): ("http", "http"),
            int(origins.WEB_DAV): ("webdav", "http"),
            int(origins.PLUGIN): ("plugin", "job"),
            int(origins.LUA): ("lua", "job"),
        }
        actions = sdk.ReceivedInstanceAction
        self._keep: tuple[int, None] = (int(actions.KEEP_AS_IS), None)
        self._modify = int(actions.MODIFY)

    def received(self, dicom: bytes, origin: int) -> tuple[int, bytes | None]:
        """ReceivedInstance: the instance as it is to be stored. The core lets one thread in at a time."""
        try:
            source, protocol = self._origins.get(origin, ("unknown", "other"))
            if self._recorder is not None:
                self._record_received(self._recorder, protocol, len(dicom))
            answer = self._keep
            reason, steps, refusal = "", None, ""
            if self._guard is not None:
                refusal = self._guard.refusal(dicom, source)
            if refusal:
                # Orthanc parses what is kept, and what is discarded too: it is handed something harmless that it
                # answers with HTTP 400.
                reason = "refused"
                answer = (self._modify, f"Refused by the ingest guard: {refusal}".encode("ascii"))  # type: ignore[assignment]
            elif self._transcoder is not None:
                outcome = self._transcoder.transcode(dicom, source)
                reason = str(outcome.reason)
                if outcome.transcoded and outcome.dicom is not None:
                    answer = (self._modify, outcome.dicom)  # type: ignore[assignment]
                if self._recorder is not None:
                    steps = _steps(outcome)
            if self._recorder is not None:
                self._recorder.transcoded(reason, steps)
            return answer
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the instance as received is the right answer
            logger.error("received instance kept as it is: %s: %s", type(error).__name__, error)  # noqa: TRY400 - one line
            return self._keep

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
        """IncomingHttpRequestFilter, called before the body is read: every request is allowed, as without us."""
        try:
            if self._recorder is not None:
                self._recorder.request_began(upload=uri == "/instances" and request.get("method") == _POST)
        except Exception as error:  # noqa: BLE001 - timing never costs a request
            logger.error("stage timing: %s", one_line(error))  # noqa: TRY400
        return True

    def stored(self, instance: DicomInstance, orthanc_id: str) -> None:
        """OnStoredInstance: the index transaction is done."""
        try:
            if self._recorder is not None:
                finished = self._recorder.committed(orthanc_id, _client(instance))
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
    """What the transcoder did, in nanoseconds; a step it does not have (an older or newer one) is none."""
    return {name: getattr(outcome, f"{name}_ns", 0) for name in _STEPS}


def _client(instance: DicomInstance) -> str:
    """Who sent an instance: the calling AE title, else the address, else nothing (a job, Lua, another plugin).

    Neither call takes a lock of the core's. An AE title that is no UTF-8 raises in the plugin.
    """
    try:
        return instance.GetInstanceRemoteAet() or instance.GetInstanceMetadata("RemoteIP") or ""
    except Exception:  # noqa: BLE001 - OrthancException, UnicodeDecodeError: no name
        return "(unreadable)"


class StorageCallbacks:
    """The three functions of a custom storage area (SDK's RegisterStorageArea).

    Args:
        area: where attachments are kept and deletions queued.
        recorder: None where timing is off.
        proofs: of what the transcoder has handed back and not yet verified; None where there is no transcoder.
    """

    def __init__(
        self, area: DeferredStorageArea, recorder: Recorder | None, proofs: PendingProofs | None = None
    ) -> None:
        self._area = area
        self._recorder = recorder
        self._proofs = proofs

    def create(self, attachment_uuid: str, content_type: int, content: bytes) -> None:
        """Stores one attachment, on the instance's thread.

        Raises:
            StorageRefusedError: it could not be written; Orthanc refuses the instance.
        """
        failure = self._create(attachment_uuid, content_type, content)
        # The traceback keeps this frame: without the attachment it is a few hundred bytes.
        del content
        if failure:
            raise StorageRefusedError(failure)

    def _create(self, attachment_uuid: str, content_type: int, content: bytes) -> str:
        recorder = self._recorder
        if recorder is not None:
            recorder.write_started(len(content), attachment_uuid)
        sync_ns: int | None = None
        verify_ns = 0
        try:
            sync_ns = self._area.create(attachment_uuid, content_type, content)
            verify_ns = -time.perf_counter_ns()
            failure = self._unproven(attachment_uuid, content_type, content)
            verify_ns += time.perf_counter_ns()
        except Exception as error:  # noqa: BLE001 - turned into the one line that StorageRefusedError carries
            failure = one_line(error)
        if recorder is not None:
            recorder.write_ended(failed=bool(failure), sync_ns=sync_ns, verify_ns=max(verify_ns, 0))
        return failure

    def _unproven(self, attachment_uuid: str, content_type: int, content: bytes) -> str:
        """One line if what was just written is not what was received, else empty.

        After the write and not before it, so that the proof and the disk take their time together. Until `create`
        returns, the core has no row for the attachment, so that nobody can ask for it; and if we die here it is a file
        without a row, like any other that a crash leaves behind.
        """
        if self._proofs is None or content_type != _DICOM:
            return ""
        failure = self._proofs.settle(_beginning(content))
        if failure:
            self._area.remove(attachment_uuid, content_type)
            return f"transcoded pixels differ from those received: {failure}"
        return ""

    def read(self, attachment_uuid: str, content_type: int) -> bytes:
        """The attachment's exact bytes.

        Raises:
            StorageRefusedError: it is missing or cannot be read.
        """
        content, failure = self._read(attachment_uuid, content_type)
        if failure:
            raise StorageRefusedError(failure)
        return content

    def _read(self, attachment_uuid: str, content_type: int) -> tuple[bytes, str]:
        try:
            return self._area.read(attachment_uuid, content_type), ""
        except Exception as error:  # noqa: BLE001 - turned into the one line that StorageRefusedError carries
            return b"", one_line(error)

    def remove(self, attachment_uuid: str, content_type: int) -> None:
        """Queues one deletion. Called while the core holds its index, so it neither waits nor raises."""
        try:
            if self._recorder is not None:
                self._recorder.removed(attachment_uuid)
        except Exception as error:  # noqa: BLE001 - timing never costs a deletion
            logger.error("stage timing: %s", one_line(error))  # noqa: TRY400
        try:
            self._area.remove(attachment_uuid, content_type)
        except Exception as error:  # noqa: BLE001 - the core would only log it and forget the file
            logger.error("deletion of attachment %s not queued: %s", attachment_uuid, one_line(error))  # noqa: TRY400


def _beginning(content: bytes) -> bytes:
    """A file's first kilobytes, StorageCompression or not; empty where they cannot be had."""
    try:
        return inflate(content[:_BEGINNING_BYTES], _BEGINNING_BYTES)
    except NotDicomError:
        return b""


class ChangeCallback:
    """OnChange: starts and stops what runs in the background, on the core's own thread for changes.

    Args:
        actions: by the number of the change (the SDK's ChangeType).
    """

    def __init__(self, actions: dict[int, Callable[[], None]]) -> None:
        self._actions = actions

    def __call__(self, change_type: int, _level: int, _orthanc_id: str) -> None:
        """Handles one change."""
        action = self._actions.get(change_type)
        if action is None:
            return
        try:
            action()
        except Exception as error:  # noqa: BLE001 - the core would only log it; so do we, in one line
            logger.error("%s failed: %s", action.__name__, one_line(error))  # noqa: TRY400
