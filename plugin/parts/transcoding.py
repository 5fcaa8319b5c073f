"""IngestTranscoder: its routes and metrics. Its callback is in `plugin.callbacks`."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from timing import Metric
from transcoder import CounterRow, DecoderState, Explanation, PendingProofs, Transcoder, explain
from transcoder.settings import ORIGINS, Settings

from .. import rest
from .part import PREFIX, Part, single

logger = logging.getLogger(__name__)

STOP_DEADLINE_S = 5.0


class TranscodingPart(Part):
    """Compression of instances as they arrive."""

    section = "IngestTranscoder"
    needs = ("RegisterReceivedInstanceCallback", "RegisterOnChangeCallback", "RegisterRestCallback")

    def __init__(self, settings: Settings, proofs: PendingProofs | None) -> None:
        """Makes the transcoder.

        Args:
            settings: the section, checked.
            proofs: verifications that our storage area waits for, so that the callback need not. None where Orthanc
                has its own storage area.
        """
        self.proofs = proofs
        self.transcoder = Transcoder(settings, proofs)

    def started(self) -> None:
        """Warns of each rule that stores images with loss."""
        for _, decision in self.transcoder.policy.rules:
            if decision.loss is not None:
                logger.warning(
                    "IngestTranscoder: rule %s stores %s with loss (%s) under new SOP Instance UIDs, and keeps no "
                    "original%s",
                    decision.rule,
                    decision.loss.target.keyword,
                    decision.loss.text,
                    " (not now: DryRun)" if self.transcoder.settings.dry_run else "",
                )

    def stopped(self) -> None:
        """Ends the transcoder's helper threads."""
        self.transcoder.close(STOP_DEADLINE_S)

    def metrics(self) -> dict[str, Callable[[], Iterable[Metric]]]:
        """Outcomes by rule and reason."""
        return {"transcoder": lambda: [*transcoder_metrics(self.transcoder.counters()), *self._decoder_metrics()]}

    def _decoder_metrics(self) -> Iterable[Metric]:
        state = self.transcoder.decoder
        if state is not None:
            yield single("transcoder_decoder_starts_total", "Decoder processes started.", "counter", state.starts)
            yield single(
                "transcoder_decoder_deaths_total", "Decoder processes that died, or were late.", "counter", state.deaths
            )

    def routes(self) -> list[rest.Route]:
        """Counters by rule; which rule decides about a file; the decoder process."""
        decoder = rest.json_route("GET", "/transcoder/decoder", "the decoder process", self._decoder, DecoderState)
        return [
            *([] if self.transcoder.decoder is None else [decoder]),
            rest.json_route(
                "GET",
                "/transcoder/status",
                "outcomes by rule",
                lambda _: self.transcoder.counters(),
                tuple[CounterRow, ...],
            ),
            # A POST, because the file is its body; it changes nothing. It takes no identifier of Orthanc's: to ask
            # Orthanc for the file, the route would hold one HTTP thread while it waits for another.
            rest.json_route(
                "POST",
                "/transcoder/explain",
                "which rule decides about a DICOM file, and why",
                self._explain,
                Explanation,
                body=bytes,
                parameters=(rest.Parameter("header", "Origin-Of-Instance", {"enum": list(ORIGINS)}),),
            ),
        ]

    def _decoder(self, _: rest.Request) -> DecoderState:
        state = self.transcoder.decoder
        assert state is not None  # without a decoder there is no route
        return state

    def _explain(self, request: rest.Request) -> Explanation:
        origin = request.headers.get("origin-of-instance", "http")
        if origin not in ORIGINS:
            raise rest.RefusedError(400, f"Origin-Of-Instance: {origin[:40]!r}: expected one of {', '.join(ORIGINS)}")
        if not request.body:
            raise rest.RefusedError(400, "body: empty: expected a DICOM file")
        return explain(self.transcoder, request.body, origin)


def transcoder_metrics(rows: Iterable[CounterRow]) -> Iterable[Metric]:
    """Outcomes by rule and reason."""
    labelled = [({"rule": row.rule, "outcome": str(row.reason)}, row) for row in rows]
    yield Metric(
        f"{PREFIX}transcoded_instances_total",
        "Instances looked at, by rule and outcome.",
        "counter",
        [(k, row.count) for k, row in labelled],
    )
    yield Metric(
        f"{PREFIX}transcoder_bytes_in_total",
        "Bytes received, by rule and outcome.",
        "counter",
        [(k, row.bytes_in) for k, row in labelled],
    )
    yield Metric(
        f"{PREFIX}transcoder_bytes_out_total",
        "Bytes to be stored, by rule and outcome.",
        "counter",
        [(k, row.bytes_out) for k, row in labelled],
    )
    yield Metric(
        f"{PREFIX}transcoder_seconds_total",
        "Time spent, by rule and outcome.",
        "counter",
        [(k, row.total_ns / 1e9) for k, row in labelled],
    )
