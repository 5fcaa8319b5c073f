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
        description="After how many seconds without an event an instance that was never stored is given up and "
        "counted as unfinished.",
    ),
]


MaxClients = Annotated[
    int,
    msgspec.Meta(
        ge=0,
        le=256,
        description="How many clients (calling AE titles, HTTP addresses) have stages of their own, first come first "
        "served; the rest are counted together.",
    ),
]
MetricsEvery = Annotated[
    float,
    msgspec.Meta(
        ge=0,
        le=3600,
        description="Seconds between two updates of the bundle's numbers in Orthanc's own /tools/metrics-prometheus; "
        "0: not there.",
    ),
]
TrimMemoryEvery = Annotated[
    float,
    msgspec.Meta(
        ge=0,
        le=86400,
        description="Seconds between two times that free memory is given back to the system (malloc_trim), while no "
        "instance is in flight and something was stored since; 0: never.",
    ),
]


class Settings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What an operator can set about stage timing."""

    enable: Annotated[bool, msgspec.Meta(description="Whether the stages of each stored instance are measured.")] = True
    slowest: Slowest = 32
    slowest_minutes: SlowestMinutes = 60
    stale_seconds: StaleSeconds = 600
    max_clients: MaxClients = 16
    log_each_instance: Annotated[
        bool,
        msgspec.Meta(
            description="Whether each stored instance gets a line with its stages in Orthanc's log, at level INFO "
            "(--verbose)."
        ),
    ] = False
    http_request_filter: Annotated[
        bool,
        msgspec.Meta(
            description="Whether a callback at each HTTP request tells when an upload began (stage `receive` over "
            "HTTP). Python plugins before 4.1 lose about 0.75 KB a request with it."
        ),
    ] = False
    metrics_every: MetricsEvery = 10.0
    trim_memory_every: TrimMemoryEvery = 0.0
