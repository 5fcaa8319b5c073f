"""Settings that are varied in the association benchmark: TLS, and DCMTK's TCP_BUFFER_LENGTH at either end."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness import certificates

# The value that ended the stalls in a report of 2016; and one for a fast line with a long delay.
REPORTED_BYTES, LARGE_BYTES = 129076, 1 << 20


@dataclass(frozen=True)
class Variation:
    """One way to run a server and its senders; nothing set by default."""

    name: str = ""
    server_environment: dict[str, str] = field(default_factory=dict)
    sender_environment: dict[str, str] = field(default_factory=dict)
    configuration: dict[str, Any] = field(default_factory=dict)
    sender_arguments: list[str] = field(default_factory=list)


def buffers() -> list[Variation]:
    """TCP_BUFFER_LENGTH nowhere, at either end, and at both."""
    reported, large = {"TCP_BUFFER_LENGTH": str(REPORTED_BYTES)}, {"TCP_BUFFER_LENGTH": str(LARGE_BYTES)}
    return [
        Variation("TCP_BUFFER_LENGTH not set"),
        Variation(f"{REPORTED_BYTES} at the sender", sender_environment=reported),
        Variation(f"{REPORTED_BYTES} at Orthanc", server_environment=reported),
        Variation(f"{REPORTED_BYTES} at both", server_environment=reported, sender_environment=reported),
        Variation(f"{LARGE_BYTES} at both", server_environment=large, sender_environment=large),
    ]


def tls(folder: Path) -> list[Variation]:
    """Without and with TLS; the certificate is made in `folder`."""
    made = certificates.make(folder)
    return [
        Variation("no TLS"),
        Variation("TLS", configuration=made.configuration, sender_arguments=made.storescu_arguments),
    ]
