"""Measures where the time of each instance goes; reports it as JSON, Prometheus text or a table."""

from .exposition import CONTENT_TYPE, Exposition
from .memory import Memory, MemorySnapshot, Trimmer
from .metrics import Metric
from .recorder import Recorder
from .settings import Settings
from .slowest import server_timing
from .snapshot import ProtocolSnapshot, SlowInstance, Snapshot, StageSnapshot, WindowSnapshot
from .stages import STAGES, STEPS, Stage, Step
from .ticker import Ticker
from .windows import FOLD_S, WINDOWS_MINUTES

__all__ = [
    "CONTENT_TYPE",
    "FOLD_S",
    "STAGES",
    "STEPS",
    "WINDOWS_MINUTES",
    "Exposition",
    "Memory",
    "MemorySnapshot",
    "Metric",
    "ProtocolSnapshot",
    "Recorder",
    "Settings",
    "SlowInstance",
    "Snapshot",
    "Stage",
    "StageSnapshot",
    "Step",
    "Ticker",
    "Trimmer",
    "WindowSnapshot",
    "server_timing",
]
