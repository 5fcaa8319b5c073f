"""The ``IngestGuard`` section of the configuration: its keys, defaults and meaning."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class Settings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The section as a whole."""

    enable: Annotated[
        bool, Meta(description="Whether files that would kill Orthanc are refused as they are received.")
    ] = True
    max_sequence_depth: Annotated[
        int,
        Meta(
            description="Most sequences within one another. Debian's Orthanc dies of 48; structured reports, the "
            "deepest objects in practice, have fewer than 20.",
            ge=1,
            le=1000,
        ),
    ] = 32
    max_elements: Annotated[
        int,
        Meta(
            description="Most elements, items and fragments. Orthanc's time grows with the square of their number: it "
            "takes half a minute for 100,000 at one level.",
            ge=1000,
        ),
    ] = 1_000_000
    max_inflated_bytes: Annotated[
        int, Meta(description="Most bytes that a deflated data set may inflate to (decompression bombs).", ge=1)
    ] = 1 << 30
