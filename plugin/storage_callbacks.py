"""The callbacks of the storage area: writes and reads attachments, queues their deletion.

Nothing here calls `orthanc.RestApi*`. Nothing but a refused `create` or `read` raises. See `plugin.callbacks`.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from deferred_delete.studies.dicom_header import NotDicomError, inflate
from support.one_line import one_line

from . import thread_states

if TYPE_CHECKING:
    from deferred_delete import DeferredStorageArea
    from timing import Recorder
    from transcoder import PendingProofs

logger = logging.getLogger(__name__)

_DICOM = 1  # the SDK's ContentType, as callbacks get it
# Enough of a file to read which instance it is.
_BEGINNING_BYTES = 4096


class StorageRefusedError(Exception):
    """An attachment could not be written or read; Orthanc answers its client with an error and keeps nothing."""


class StorageCallbacks:
    """The three functions of a custom storage area (SDK's RegisterStorageArea).

    Args:
        area: where attachments are kept and deletions queued.
        recorder: None where timing is off.
        proofs: verifications that are under way; None where there is no transcoder.
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
        # The traceback keeps this frame, and Orthanc the traceback: the attachment must not be in it.
        del content
        if failure:
            raise StorageRefusedError(failure)

    def _create(self, attachment_uuid: str, content_type: int, content: bytes) -> str:
        thread_states.keep()
        recorder = self._recorder
        if recorder is not None:
            recorder.write_started(len(content), attachment_uuid)
        sync_ns: int | None = None
        verify_ns = 0
        try:
            sync_ns = self._area.create(attachment_uuid, content_type, content)
            verify_ns = -time.perf_counter_ns()
            failure = self._verification_failure(attachment_uuid, content_type, content)
            verify_ns += time.perf_counter_ns()
        except Exception as error:  # noqa: BLE001 - turned into the one line that StorageRefusedError carries
            failure = one_line(error)
        if recorder is not None:
            recorder.write_ended(failed=bool(failure), sync_ns=sync_ns, verify_ns=max(verify_ns, 0))
        return failure

    def _verification_failure(self, attachment_uuid: str, content_type: int, content: bytes) -> str:
        """One line if the pixels just written are not those received, else empty.

        Called after the write, so that verification and disk work at the same time. Until `create` returns, the core
        has no row for the attachment, so that no client can ask for it. A crash here leaves a file without a row, as
        any crash during `create` does.
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
        thread_states.keep()
        try:
            return self._area.read(attachment_uuid, content_type), ""
        except Exception as error:  # noqa: BLE001 - turned into the one line that StorageRefusedError carries
            return b"", one_line(error)

    def remove(self, attachment_uuid: str, content_type: int) -> None:
        """Queues one deletion. Called while the core holds its index, so it neither waits nor raises."""
        thread_states.keep()
        try:
            if self._recorder is not None:
                self._recorder.removed(attachment_uuid)
        except Exception as error:  # noqa: BLE001 - timing never costs a deletion
            logger.error("stage timing: %s", one_line(error))  # noqa: TRY400
        try:
            self._area.remove(attachment_uuid, content_type)
        except Exception as error:  # noqa: BLE001 - Orthanc would only log it, and the file would stay
            logger.error("deletion of attachment %s not queued: %s", attachment_uuid, one_line(error))  # noqa: TRY400


def _beginning(content: bytes) -> bytes:
    """A file's first kilobytes, inflated where StorageCompression is on; empty where they cannot be read."""
    try:
        return inflate(content[:_BEGINNING_BYTES], _BEGINNING_BYTES)
    except NotDicomError:
        return b""
