"""Gives one deleted instance back to Orthanc, and proves that Orthanc has it."""

import errno
import json
from collections.abc import Callable

from support.one_line import one_line

from ..errors import StorageError
from ..ledger.restore_rows import HeldFile, Verdict
from ..ledger.rows import MAX_REASON_CHARS
from ..orthanc_client import OrthancClient, OrthancRequestError, reason
from ..storage.storage import Storage
from .dicom_header import NotDicomError, inflate

# original, what Orthanc has now -> whether they are the same but for a lossless transcoding
SameImage = Callable[[bytes, bytes], bool]


class Reimport:
    """Sends held files to Orthanc, one at a time.

    Args:
        storage: Where the files are.
        orthanc: The client of Orthanc's REST API.
        same_image: Compares an original with an instance that Orthanc has changed.
    """

    def __init__(self, storage: Storage, orthanc: OrthancClient, same_image: SameImage) -> None:
        self._storage = storage
        self._orthanc = orthanc
        self._same_image = same_image

    def import_file(self, file: HeldFile) -> Verdict:
        """Sends one file to Orthanc, reads the instance back and compares the two.

        Raises:
            OrthancRequestError: Orthanc did not answer, or answered 5xx: worth another try.
        """
        try:
            original = inflate(self._storage.read(file.attachment_uuid))
        except StorageError as error:
            if error.errno == errno.ENOENT:
                return Verdict("gone")
            return Verdict("unreadable", one_line(error, MAX_REASON_CHARS))
        except NotDicomError as error:
            return Verdict("unreadable", one_line(error, MAX_REASON_CHARS))
        answer = self._orthanc.send("POST", "/instances", original)
        if answer.status >= 500:
            raise OrthancRequestError(f"POST /instances: HTTP {answer.status}: {reason(answer.body)}")
        if not 200 <= answer.status < 300:
            return Verdict("refused", f"Orthanc refused it: HTTP {answer.status}: {reason(answer.body)}")
        return self._compare(original, answer.body)

    def _compare(self, original: bytes, answer: bytes) -> Verdict:
        stored = _stored(answer)
        instance_id = stored.get("ID")
        if not instance_id:
            return Verdict("refused", f"Orthanc did not store it: {reason(answer)}")
        stored_file = self._orthanc.ask("GET", f"/instances/{instance_id}/file")
        if not stored_file.found:
            return Verdict("refused", "Orthanc said that it stored it, and does not have it")
        if stored_file.body == original:
            return Verdict("restored", instance_id=instance_id)
        if self._same_image(original, stored_file.body):
            return Verdict("transcoded", instance_id=instance_id)
        if stored.get("Status") == "AlreadyStored":
            return Verdict(
                "differs", "Orthanc has another version of this instance, which is not overwritten (OverwriteInstances)"
            )
        return Verdict("unproven", "Orthanc changed it on its way in, and its images could not be proven equal")


def _stored(answer: bytes) -> dict[str, str]:
    try:
        stored = json.loads(answer)
    except ValueError:
        return {}
    return stored if isinstance(stored, dict) else {}
