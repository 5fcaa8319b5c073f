"""StageTiming: the recorder of stages, and the exposition that every part's metrics go into."""

from __future__ import annotations

from timing import CONTENT_TYPE, Exposition, Recorder
from timing.settings import Settings

from .. import rest
from .part import Part


class StageTimingPart(Part):
    """Stages of ingest as JSON and as Prometheus text."""

    section = "StageTiming"
    needs = ("RegisterReceivedInstanceCallback", "RegisterOnStoredInstanceCallback", "RegisterRestCallback")

    def __init__(self, settings: Settings) -> None:
        self.recorder = Recorder(settings)
        self.exposition = Exposition(self.recorder)

    def add_metrics_of(self, part: Part) -> None:
        """Lets another part's numbers appear in the exposition."""
        for name, source in part.metrics().items():
            self.exposition.add_source(source, name=name)

    def routes(self) -> list[rest.Route]:
        """Stages, slowest instances, metrics; reset."""
        recorder, exposition = self.recorder, self.exposition

        def reset(_: rest.Request) -> rest.Answer:
            recorder.reset()
            return rest.json_answer({})

        return [
            rest.Route(
                "GET", "/timing/stages", "stages of ingest by protocol", lambda _: rest.json_answer(recorder.snapshot())
            ),
            rest.Route(
                "GET", "/timing/slowest", "the slowest recent instances", lambda _: rest.json_answer(recorder.slowest())
            ),
            rest.Route(
                "GET", "/timing/metrics", "Prometheus text", lambda _: rest.Answer(exposition.render(), CONTENT_TYPE)
            ),
            rest.Route("POST", "/timing/reset", "forget what was measured", reset),
        ]
