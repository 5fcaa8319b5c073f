"""The section `DicomAssociations` of orthanc.json."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is done to the TCP connections of Orthanc's DICOM server and of its C-STORE SCU."""

    enable: Annotated[bool, Meta(description="Switches the whole section.")] = True
    no_delay: Annotated[
        bool,
        Meta(
            description="Set TCP_NODELAY in the environment for DCMTK, unless the operator has set it: a response is "
            "sent at once."
        ),
    ] = True
    quick_ack: Annotated[
        bool,
        Meta(
            description="Keep the connections of the DICOM server out of delayed-acknowledgement mode (TCP_QUICKACK, "
            "Linux only)."
        ),
    ] = True
    outgoing: Annotated[
        bool,
        Meta(
            description="QuickAck also for the associations that Orthanc opens to its modalities (C-STORE, C-MOVE, "
            "C-FIND SCU)."
        ),
    ] = True
    max_pause_ms: Annotated[
        float,
        Meta(
            description="Longest pause of the watcher between two looks at busy associations, in ms; 0 looks at every "
            "arrival.",
            ge=0,
            le=20,
        ),
    ] = 2.0
    rescan_seconds: Annotated[
        float,
        Meta(
            description="How often an idle watcher looks whether the DICOM server listens on a new socket, in seconds.",
            ge=0.05,
            le=3600,
        ),
    ] = 30.0
