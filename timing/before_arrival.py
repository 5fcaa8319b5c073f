"""What happened before an instance arrived: its upload began, or the instance before was committed and answered."""

from threading import get_ident
from typing import Final

from .in_flight import InFlight

_MAX_UPLOADS: Final = 1024
# One for each thread that serves HTTP; Orthanc has 50 unless told otherwise.
_MAX_ASSOCIATIONS: Final = 256
# Orthanc has four DICOM threads; an association that has ended is forgotten when as many others have come.


class BeforeArrival:
    """Knows when uploads began and when associations last had a commit.

    Safe to use from any thread without a lock: each step is one operation on a dictionary, and these are atomic.
    """

    def __init__(self) -> None:
        self._uploads: dict[int, int] = {}  # by thread: when the upload that it is serving began
        self._commits: dict[int, int] = {}  # by association, oldest first; between a commit and the next instance

    def request_began(self, now_ns: int, *, upload: bool) -> None:
        """Note that this thread begins to serve an HTTP request, whose body has not been read yet."""
        ident = get_ident()
        if not upload:
            self._uploads.pop(ident, None)
        elif ident in self._uploads or len(self._uploads) < _MAX_UPLOADS:
            self._uploads[ident] = now_ns

    def committed(self, association: int, now_ns: int) -> None:
        """Note that the index transaction of an instance of this association is done."""
        if len(self._commits) >= _MAX_ASSOCIATIONS:
            oldest, *_ = self._commits  # next(iter()) would raise if another thread adds one in between
            self._commits.pop(oldest, None)
        self._commits[association] = now_ns

    def add_upload(self, instance: InFlight, now_ns: int) -> None:
        """Add to an instance over HTTP how long it was received, if it is the first one of an upload on this thread."""
        if self._uploads:
            began_ns = self._uploads.pop(get_ident(), None)
            instance.receiving_ns = None if began_ns is None else now_ns - began_ns

    def add_response(self, instance: InFlight, association: int, now_ns: int, *, follows: bool) -> None:
        """Divide the time since this association's last commit into the response and the wait for the SCU.

        When the response left is known to the kernel's tick only: it cannot have left before the transaction was done.
        """
        committed_ns = self._commits.pop(association, None)
        waited_ns, receiving_ns, queued_ns = instance.waited_ns, instance.receiving_ns, instance.queued_ns
        if not follows or committed_ns is None or waited_ns is None or receiving_ns is None or queued_ns is None:
            return
        whole_ns = now_ns - committed_ns - receiving_ns - queued_ns
        if whole_ns < 0:
            return
        instance.waited_ns = min(waited_ns, whole_ns)
        instance.response_ns = whole_ns - instance.waited_ns
