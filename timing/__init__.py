"""Where the time of each instance goes: recorded from Orthanc's callbacks, reported as JSON, Prometheus text or a table."""

from .exposition import CONTENT_TYPE, Exposition
from .metrics import Metric
from .recorder import Recorder
from .settings import Settings
from .snapshot import ProtocolSnapshot, SlowInstance, Snapshot, StageSnapshot
from .stages import STAGES, Stage

__all__ = [
    "CONTENT_TYPE",
    "STAGES",
    "Exposition",
    "Metric",
    "ProtocolSnapshot",
    "Recorder",
    "Settings",
    "SlowInstance",
    "Snapshot",
    "Stage",
    "StageSnapshot",
]
