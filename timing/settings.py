"""The `StageTiming` section of orthanc.json."""

from typing import Annotated

import msgspec

Slowest = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=1000,
        description="How many of the slowest recent instances are kept with their own stages; 0 keeps none.",
    ),
]
SlowestMinutes = Annotated[
    int,
    msgspec.Meta(
        ge=1, le=1440, description="How long, in minutes, an instance counts as recent for the list of the slowest."
    ),
]
StaleSeconds = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=86400,
        description="After how many seconds without an event an instance that was never stored is given up and counted as unfinished.",
    ),
]


class Settings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What an operator can set about stage timing."""

    enable: Annotated[bool, msgspec.Meta(description="Whether the stages of each stored instance are measured.")] = True
    slowest: Slowest = 32
    slowest_minutes: SlowestMinutes = 60
    stale_seconds: StaleSeconds = 600
