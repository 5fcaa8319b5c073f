"""Builds the sections that are on, registers their callbacks and routes, starts and stops them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import msgspec

from timing import CONTENT_TYPE, Exposition
from transcoder import PendingProofs, Reason

from . import __version__, allocator, loopback, openapi, operators_page, rest
from .callbacks import ChangeCallback, IngestCallbacks
from .config import Configuration
from .parts.associations import AssociationsPart
from .parts.deletion import DeletionPart
from .parts.guard import GuardPart
from .parts.part import Part
from .parts.stage_timing import StageTimingPart
from .parts.starting import attempt
from .parts.transcoding import TranscodingPart
from .storage_callbacks import StorageCallbacks
from .validation import ConfigurationError

logger = logging.getLogger(__name__)


class BundleStatus(msgspec.Struct, rename="pascal", frozen=True):
    """The version, the sections that are on, and method, path and summary of each route."""

    version: str
    sections: list[str]
    routes: list[str]


class Bundle:
    """The sections of the bundle that are on in one Orthanc.

    Args:
        sdk: the `orthanc` module.
        configuration: checked sections; what is None is neither built nor registered.

    Raises:
        ConfigurationError: the SDK lacks what a section needs.
        DeferredDeleteError: the ledger of pending deletions cannot be used.
    """

    def __init__(self, sdk: ModuleType, configuration: Configuration) -> None:
        self.sdk = sdk
        self.configuration = configuration
        core = configuration.core
        # None where our threads cannot send requests to Orthanc.
        self.loopback = (
            None
            if loopback.refusal(core)
            else loopback.Loopback(core.http_port, tls=core.ssl_enabled, authorization=lambda: self._token)
        )
        lost = loopback.lost_without_certificate(configuration)
        if lost:
            logger.warning("%s", lost)
        self._token = ""
        self._check_sdk((DeletionPart, TranscodingPart, GuardPart, StageTimingPart, AssociationsPart))
        self.timing = StageTimingPart(sdk, configuration) if configuration.stage_timing else None
        # Our storage area waits for the result of verification before an instance counts as stored.
        self.proofs = PendingProofs() if configuration.deferred_delete and configuration.ingest_transcoder else None
        self.transcoding = (
            TranscodingPart(configuration.ingest_transcoder, self.proofs) if configuration.ingest_transcoder else None
        )
        self.guard = GuardPart(configuration.ingest_guard) if configuration.ingest_guard else None
        self.associations = (
            AssociationsPart(sdk, configuration, self.loopback) if configuration.dicom_associations else None
        )
        self.deletion = (
            DeletionPart(sdk, configuration, self.loopback, self._proven_transcoding)
            if configuration.deferred_delete
            else None
        )
        # The metrics of the other parts are published without StageTiming too.
        self.exposition = self.timing.exposition if self.timing else Exposition()
        for part in self.parts:
            for name, source in part.metrics().items():
                self.exposition.add_source(source, name=name)

    def _proven_transcoding(self, original: bytes, stored: bytes) -> bool:
        """Whether `stored` is what our transcoder makes of `original`, verified and without loss."""
        if self.transcoding is None or not self.transcoding.transcoder.settings.verify:
            return False
        outcome = self.transcoding.transcoder.tried(original, "http")
        return outcome.reason is Reason.TRANSCODED and outcome.dicom == stored

    @property
    def parts(self) -> list[Part]:
        """The parts that are on, in the order in which they start; they stop in this order too."""
        parts = (self.associations, self.deletion, self.guard, self.transcoding, self.timing)
        return [part for part in parts if part is not None]

    def _check_sdk(self, kinds: Iterable[type[Part]]) -> None:
        for kind in kinds:
            missing = [name for name in kind.needs if not hasattr(self.sdk, name)]
            if missing and kind.section in self.configuration.enabled:
                raise ConfigurationError(
                    f"{kind.section}: this Orthanc's Python plugin has no {', '.join(missing)}: "
                    "expected a newer orthanc-python"
                )

    def register(self) -> None:
        """Registers callbacks and routes; nothing where every section is off."""
        sdk = self.sdk
        if self.loopback is not None and self.parts:
            # While Orthanc loads, not once it has started: the call keeps Python's lock while it waits for a mutex of
            # the core. An instance that is being received has that mutex, and waits for Python's lock.
            self._token = sdk.GenerateRestApiAuthorizationToken()
        recorder = self.timing.recorder if self.timing else None
        transcoder = self.transcoding.transcoder if self.transcoding else None
        if self.deletion is not None:
            storage = StorageCallbacks(self.deletion.deferred_delete.area, recorder, self.proofs)
            sdk.RegisterStorageArea(storage.create, storage.read, storage.remove)
        if transcoder is not None:
            allocator.keep_freed_memory()
        guard = self.guard.guard if self.guard else None
        if transcoder is not None or recorder is not None or guard is not None:
            tuner = self.associations.tuner if self.associations else None
            log_each = self.timing is not None and self.timing.log_each_instance
            ingest = IngestCallbacks(
                sdk, transcoder, recorder, tuner, time.monotonic_ns, log_each=log_each, guard=guard
            )
            sdk.RegisterReceivedInstanceCallback(ingest.received)
            if recorder is not None:
                sdk.RegisterOnStoredInstanceCallback(ingest.stored)
            if self.timing is not None and self.timing.watches_requests:
                sdk.RegisterIncomingHttpRequestFilter(ingest.request_began)
        if any("RegisterOnChangeCallback" in part.needs for part in self.parts):
            sdk.RegisterOnChangeCallback(ChangeCallback(self._changes()))
        rest.register(sdk, self.routes())
        if self.parts:
            operators_page.link_from_explorer(sdk)

    def _changes(self) -> dict[int, Callable[[], None]]:
        changes = self.sdk.ChangeType
        actions: dict[int, Callable[[], None]] = {
            int(changes.ORTHANC_STARTED): self.started,
            int(changes.ORTHANC_STOPPED): self.stopped,
        }
        for part in self.parts:
            actions |= part.changes()
        return actions

    def started(self) -> None:
        """ORTHANC_STARTED: the server answers, and our threads may run."""
        for part in self.parts:
            attempt(part.started, f"{part.section} did not start", part.lost)

    def stopped(self) -> None:
        """ORTHANC_STOPPED: ends our threads, because Python is finalized next."""
        for part in self.parts:
            attempt(part.stopped, f"{part.section} did not stop properly")

    def routes(self) -> list[rest.Route]:
        """The routes of all sections that are on."""
        if not self.parts:
            return []
        routes = [
            rest.json_route("GET", "/bundle/status", "what is on", lambda _: self._status(), BundleStatus),
            rest.json_route(
                "GET",
                "/bundle/openapi.json",
                "these routes as OpenAPI 3.1",
                lambda _: openapi.document(self.routes()),
                dict[str, Any],
            ),
            rest.Route(
                "GET",
                "/bundle/metrics",
                "Prometheus text",
                lambda _: rest.Answer(self.exposition.render(), CONTENT_TYPE),
                media_type=CONTENT_TYPE,
            ),
            *operators_page.routes(),
        ]
        return routes + [route for part in self.parts for route in part.routes()]

    def _status(self) -> BundleStatus:
        routes = [f"{route.method} {route.path}: {route.summary}" for route in self.routes()]
        return BundleStatus(__version__, self.configuration.enabled, routes)
