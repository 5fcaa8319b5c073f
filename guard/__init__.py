"""Refuses received files that would crash the server when it parses them.

The package takes the bytes of a file as received and says whether they may be parsed. It knows nothing of the server
that it runs in. What the server survives is not refused: files that are not DICOM, cut short or malformed.
"""

from .guard import Guard, Status
from .settings import Settings
from .walk import Reason

__all__ = ["Guard", "Reason", "Settings", "Status"]
