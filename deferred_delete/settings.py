"""The ``DeferredDelete`` section of orthanc.json, and the C++ plugin's ``DelayedDeletion`` section."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .worker.schedule import hours_of

Durability = Literal["process", "power"]


class Settings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How deletions are deferred. Times are in seconds unless the name says otherwise."""

    enable: Annotated[bool, Meta(description="Whether deletions are deferred. Absent section: off.")] = True
    path: Annotated[
        str,
        Meta(
            description="The ledger's file. Empty: deferred-deletions.db beside Orthanc's index (IndexDirectory, by "
            "default the StorageDirectory); one that is in the StorageDirectory already stays there."
        ),
    ] = ""
    grace_period: Annotated[
        float,
        Meta(ge=0, le=31_536_000, description="Seconds between Orthanc's request and the first attempt to unlink."),
    ] = 60
    throttle_delay_ms: Annotated[
        float, Meta(ge=0, le=60_000, description="Pause after each unlinked file, in milliseconds.")
    ] = 0
    files_per_second: Annotated[
        float, Meta(ge=0, le=1_000_000, description="At most so many files unlinked in a second; 0: no limit.")
    ] = 0
    megabytes_per_second: Annotated[
        float, Meta(ge=0, le=1_000_000, description="At most so many MB freed in a second; 0: no limit.")
    ] = 0
    workers: Annotated[
        int, Meta(ge=1, le=64, description="Files unlinked at the same time; more than one helps on network disks.")
    ] = 1
    schedule: Annotated[
        dict[str, list[str]],
        Meta(
            description="Hours in which files are unlinked, local time, as in the Housekeeper plugin: "
            '`{"Monday": ["0-6", "20-24"]}`. Empty: always.'
        ),
    ] = {}
    minimum_free_disk_percent: Annotated[
        float,
        Meta(
            ge=0,
            lt=100,
            description="With less of the storage disk free, what is due goes at full speed, whatever schedule and "
            "limits say; 0: never.",
        ),
    ] = 0
    batch_size: Annotated[
        int,
        Meta(ge=1, le=1000, description="Files claimed at a time."),
    ] = 64
    retry_min: Annotated[
        float, Meta(ge=0.01, le=86_400, description="Seconds before the first retry of a failed unlink; then doubling.")
    ] = 5
    retry_max: Annotated[
        float, Meta(ge=0.01, le=604_800, description="Longest time between two attempts at one file, in seconds.")
    ] = 3600
    durability: Annotated[
        Durability,
        Meta(description='What a recorded deletion survives: "process" (SIGKILL) or "power" (a sync per deletion).'),
    ] = "process"
    sync_headers: Annotated[
        bool,
        Meta(
            description="Whether header copies are written and synced within each store, instead of a moment later, "
            "and rebuilt from the images after a crash."
        ),
    ] = False
    busy_timeout_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=5000,
            description="Longest wait of the worker or a route for a ledger locked by another program, ms.",
        ),
    ] = 300

    def __post_init__(self) -> None:
        """Checks what concerns several fields, or a field's structure.

        Raises:
            ValueError: RetryMin is above RetryMax, or the Schedule is none (msgspec turns it into a ValidationError
                that names the section).
        """
        hours_of(self.schedule)
        if self.retry_min > self.retry_max:
            raise ValueError(f"RetryMin is {self.retry_min:g} s: expected at most RetryMax, {self.retry_max:g} s")

    @property
    def grace_ms(self) -> int:
        """The grace period in milliseconds."""
        return round(self.grace_period * 1000)


def ledger_of(database: str) -> str:
    """The path of the ledger that belongs to a database of the C++ plugin."""
    return f"{database}.deferred"


class DelayedDeletionSettings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The C++ plugin's section, read so that nobody who moves from it has to change the configuration."""

    enable: Annotated[bool, Meta(description="As in the C++ plugin.")] = True
    throttle_delay_ms: Annotated[int, Meta(ge=0, le=60_000, description="As in the C++ plugin, in milliseconds.")] = 0
    path: Annotated[str, Meta(description="The C++ plugin's database, which is taken over.")] = ""

    def as_settings(self) -> Settings:
        """The same settings as a section of ours.

        The C++ plugin knows no grace period: it starts at once. Its database and our ledger are two files with two
        formats, so a Path given for the first puts the second beside it.
        """
        return Settings(
            enable=self.enable,
            throttle_delay_ms=self.throttle_delay_ms,
            grace_period=0,
            path=ledger_of(self.path) if self.path else "",
        )
