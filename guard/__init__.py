"""Refuses files that would kill the server while it parses them, before it parses them.

The package takes the bytes of a file as received and says whether they are fit to be parsed. It knows nothing of the
server it runs in, and leaves everything to it that it can survive: files that are no DICOM, cut short or malformed are
not the guard's business.
"""

from .guard import Guard, Status
from .settings import Settings
from .walk import Reason

__all__ = ["Guard", "Reason", "Settings", "Status"]
