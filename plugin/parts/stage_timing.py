"""StageTiming: the recorder of stages, memory figures, and metrics published through Orthanc."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from types import ModuleType

from timing import (
    CONTENT_TYPE,
    FOLD_S,
    WINDOWS_MINUTES,
    Exposition,
    Memory,
    MemorySnapshot,
    Metric,
    Recorder,
    SlowInstance,
    Snapshot,
    Ticker,
    Trimmer,
    WindowSnapshot,
)

from .. import rest
from ..config import Configuration
from .part import PREFIX, Part, single

logger = logging.getLogger(__name__)
STOP_DEADLINE_S = 5.0


class StageTimingPart(Part):
    """Stages of ingest as JSON and as Prometheus text.

    Attributes:
        exposition: the recorder's numbers; the bundle adds those of every part that is on.
    """

    section = "StageTiming"
    needs = (
        "RegisterReceivedInstanceCallback",
        "RegisterOnStoredInstanceCallback",
        "RegisterOnChangeCallback",
        "RegisterRestCallback",
    )
    lost = "until the next start windows, Orthanc's own metrics and the trimming of memory stand still"

    def __init__(self, sdk: ModuleType, configuration: Configuration) -> None:
        settings = configuration.stage_timing
        assert settings is not None
        self._sdk = sdk
        self.recorder = Recorder(settings)
        self.exposition = Exposition(self.recorder)
        self.memory = Memory(configuration.core.malloc_arena_max)
        self.log_each_instance = settings.log_each_instance
        self.watches_requests = settings.http_request_filter
        # Looked up in place of a version: this function came with the version that does not leak.
        if self.watches_requests and not hasattr(sdk, "RegisterStorageCommitmentScpCallback"):
            logger.warning(
                "StageTiming.HttpRequestFilter: this Python plugin is older than 4.1 and loses about 0.75 KB at each "
                "HTTP request"
            )
        trimmer = Trimmer(self.memory, self.recorder.idle_seconds, settings.trim_memory_every)
        self.ticker = Ticker(
            [
                (FOLD_S, self.recorder.fold),
                (settings.metrics_every, self.publish),
                (settings.trim_memory_every if self.memory.can_trim else 0, trimmer.run),
            ]
        )

    def started(self) -> None:
        """Starts the periodic tasks."""
        self.ticker.start()

    def stopped(self) -> None:
        """Stops the periodic tasks."""
        self.ticker.stop(STOP_DEADLINE_S)

    def publish(self) -> None:
        """Publishes the metrics among Orthanc's own.

        SetMetricsValue takes only the lock of Orthanc's registry, which no thread holds while it waits for Python's
        lock, so that it cannot deadlock. It takes a microsecond. It raises before ORTHANC_STARTED.
        """
        kind = int(self._sdk.MetricsType.DEFAULT)
        for name, value in self.exposition.flat().items():
            self._sdk.SetMetricsValue(name, value, kind)

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """Memory of the process."""
        return {"memory": lambda: memory_metrics(self.memory.snapshot())}

    def routes(self) -> list[rest.Route]:
        """Stages, slowest instances, memory, metrics; reset."""
        recorder, exposition = self.recorder, self.exposition

        def reset(_: rest.Request) -> dict[str, str]:
            recorder.reset()
            return {}

        return [
            rest.Route(
                "GET",
                "/timing/stages",
                "stages of ingest by protocol, client and window",
                lambda request: rest.json_answer(self._stages(request)),
                Snapshot | WindowSnapshot,
                parameters=(rest.Parameter("query", "window", {"enum": list(WINDOWS_MINUTES)}),),
            ),
            rest.json_route(
                "GET",
                "/timing/slowest",
                "the slowest recent instances",
                lambda _: recorder.slowest(),
                list[SlowInstance],
            ),
            rest.json_route(
                "GET", "/timing/memory", "memory of Orthanc", lambda _: self.memory.snapshot(), MemorySnapshot
            ),
            rest.Route(
                "GET",
                "/timing/metrics",
                "as /bundle/metrics",
                lambda _: rest.Answer(exposition.render(), CONTENT_TYPE),
                media_type=CONTENT_TYPE,
            ),
            rest.json_route("POST", "/timing/reset", "forget what was measured", reset, dict[str, str]),
        ]

    def _stages(self, request: rest.Request) -> Snapshot | WindowSnapshot:
        """Everything, or with ?window=MINUTES that window alone."""
        wanted = request.arguments.get("window")
        if wanted is None:
            return self.recorder.snapshot()
        for window in self.recorder.windows():
            if wanted == str(window.minutes):
                return window
        known = ", ".join(map(str, WINDOWS_MINUTES))
        raise rest.RefusedError(400, f"window: {wanted!r:.40}: expected one of {known} (minutes)")


def memory_metrics(memory: MemorySnapshot) -> Iterable[Metric]:
    """Memory of the process; values that are not known are left out."""
    gauges = (
        ("memory_resident_bytes", "Resident memory of Orthanc (VmRSS).", memory.resident_bytes),
        ("memory_peak_resident_bytes", "Its peak since start (VmHWM).", memory.peak_resident_bytes),
        ("memory_malloc_arenas", "Arenas that malloc has.", memory.arenas),
        ("memory_malloc_arena_max", "Orthanc's MallocArenaMax; 0: not set.", memory.malloc_arena_max),
        ("memory_heap_bytes", "Bytes in malloc's arenas.", memory.heap_bytes),
        ("memory_heap_free_bytes", "Bytes in malloc's arenas that are not in use.", memory.heap_free_bytes),
        ("memory_mapped_bytes", "Bytes of large blocks with a mapping of their own.", memory.mapped_bytes),
    )
    for name, text, value in gauges:
        if value is not None:
            yield Metric(f"{PREFIX}{name}", text, "gauge", [({}, float(value))])
    yield single("memory_trims_total", "Calls of malloc_trim.", "counter", memory.trims)
    yield single(
        "memory_trimmed_bytes_total", "By how much they made resident memory smaller.", "counter", memory.trimmed_bytes
    )
