"""DICOM associations at the speed of the network: TCP_NODELAY, TCP_QUICKACK, and when the bytes of a data set arrived."""

from . import nodelay
from .observe import ReceiveTimes
from .settings import Settings
from .tuner import Tuner, TunerStatus

__all__ = ["ReceiveTimes", "Settings", "Tuner", "TunerStatus", "nodelay"]
