"""Keeps TCP from delaying DICOM associations (TCP_NODELAY, TCP_QUICKACK), and tells when a data set arrived."""

from . import nodelay
from .observe import ReceiveTimes
from .settings import Settings
from .tuner import Tuner, TunerStatus

__all__ = ["ReceiveTimes", "Settings", "Tuner", "TunerStatus", "nodelay"]
