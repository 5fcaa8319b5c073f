"""The worker and its ledger at one moment, as operators see them."""

import dataclasses

import msgspec

from ..intake import Intake
from ..settings import Settings
from ..storage.free_disk import DiskPressure, FreeDisk
from ..storage.storage import Storage
from .control import Control
from .counters import Counters
from .throttle import Throttle
from .wait_reason import WaitReason, estimate_s


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The worker and its ledger at one moment.

    ``in_journal`` of the ``pending`` ones are not in the ledger yet. ``lost`` ones, since start, had no room in the
    journal and are left to an audit. ``waiting_for`` is what keeps the worker from deleting: pause,
    schedule, grace (the grace period), retry (of failed files), trouble (the ledger or the whole disk), stopped; none
    while it deletes or nothing is pending. ``waiting_until`` is an ISO 8601 time; none if that is not known. ``left_s``
    estimates how long all that is pending takes. ``unwritten_header_copies`` are in memory until ingest pauses, for
    five seconds at the most unless the disk refuses them.
    """

    running: bool
    paused: bool
    pending: int
    claimed: int
    failed: int
    in_journal: int
    lost: int
    oldest_age_s: float | None
    waiting_for: str | None
    waiting_until: str | None
    left_s: float | None
    draining_now: bool
    disk_pressure: bool
    free_disk_bytes: int | None
    unwritten_header_copies: int
    yielding_to_ingest: bool
    deleted_since_start: int
    missing_since_start: int
    failures_since_start: int
    freed_bytes_since_start: int
    files_per_second: float
    last_error: str | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class StatusReader:
    """Assembles a Status from what the worker consists of. Any thread."""

    intake: Intake
    storage: Storage
    settings: Settings
    counters: Counters
    control: Control
    throttle: Throttle
    waiting: WaitReason
    pressed: DiskPressure
    free_disk: FreeDisk

    def read(self, *, running: bool) -> Status:
        """As fast with ten million rows as with ten. Raises LedgerError."""
        ledger = self.intake.ledger
        counts, oldest = self.intake.counts(), self.intake.oldest()
        counters, paused = self.counters, self.control.paused
        waiting_for, waiting_until = self.waiting.describe(
            counts, paused=paused, withheld=self.control.withheld, running=running
        )
        return Status(
            running=running,
            paused=paused,
            pending=counts.pending,
            claimed=counts.claimed,
            failed=counts.failed,
            in_journal=self.intake.waiting,
            lost=self.intake.lost,
            oldest_age_s=None if oldest is None else max(0, ledger.clock.now_ms() - oldest) / 1000,
            waiting_for=waiting_for,
            waiting_until=waiting_until,
            left_s=estimate_s(counts.total, counters.files_per_second(), self.settings),
            draining_now=ledger.order.active,
            disk_pressure=self.pressed(),
            free_disk_bytes=self.free_disk(),
            unwritten_header_copies=self.storage.unwritten,
            yielding_to_ingest=self.throttle.yields_now and counts.claimed > 0,
            deleted_since_start=counters.deleted,
            missing_since_start=counters.missing,
            failures_since_start=counters.failures,
            freed_bytes_since_start=counters.freed_bytes,
            files_per_second=counters.files_per_second(),
            last_error=counters.last_error,
        )
