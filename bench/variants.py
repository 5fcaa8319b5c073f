"""The servers that `make bench` compares: native Orthanc in several settings, and Orthanc with the bundle."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
GDCM_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancGdcm.so")
DELAYED_DELETION_PLUGIN = Path("/usr/share/orthanc/plugins/libDelayedDeletion.so")

# Long enough that no file is deleted while the next cell is measured.
STORAGE: dict[str, Any] = {"DeferredDelete": {"GracePeriod": 3600}}
WATCH: dict[str, Any] = {"DicomAssociations": {}}
TIMING: dict[str, Any] = {"StageTiming": {}}
BUNDLE = STORAGE | WATCH | TIMING


@dataclass(frozen=True)
class Variant:
    """One row of a table: how a server is set up.

    Attributes:
        bundle: the bundle is loaded.
        options: added to the configuration of native Orthanc.
        environment: for the server's process.
        missing: why it is not measured here; empty if it is.
    """

    bundle: bool = False
    options: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    missing: str = ""


def transcoding(target: str) -> dict[str, Any]:
    """The options of the whole bundle with one transcoding target."""
    return BUNDLE | {"IngestTranscoder": {"Default": target}}


VARIANTS: dict[str, Variant] = {
    "native": Variant(),
    "native, DicomThreadsCount 1": Variant(options={"DicomThreadsCount": 1}),
    "native, DicomThreadsCount 16": Variant(options={"DicomThreadsCount": 16}),
    "native .70 by DCMTK": Variant(options={"IngestTranscoding": JPEG_LOSSLESS}),
    "native .70 by GDCM": Variant(
        options={"IngestTranscoding": JPEG_LOSSLESS, "Plugins": [str(GDCM_PLUGIN)]},
        missing="" if GDCM_PLUGIN.exists() else "orthanc-gdcm is not installed",
    ),
    "native, C++ DelayedDeletion": Variant(
        # As our grace period: no file is deleted while the next cell is measured.
        options={
            "Plugins": [str(DELAYED_DELETION_PLUGIN)],
            "DelayedDeletion": {"Enable": True, "ThrottleDelayMs": 1000},
        },
        missing="" if DELAYED_DELETION_PLUGIN.exists() else "libDelayedDeletion.so is not installed (Debian 13 has it)",
    ),
    "tuner alone": Variant(bundle=True, options=WATCH),
    "deletion alone": Variant(bundle=True, options=STORAGE),
    "timing alone": Variant(bundle=True, options=TIMING),
    "bundle": Variant(bundle=True, options=BUNDLE),
    "bundle, tuner off": Variant(bundle=True, options=STORAGE | TIMING),
    "bundle .70": Variant(bundle=True, options=transcoding("JPEGLosslessSV1")),
    "bundle .80": Variant(bundle=True, options=transcoding("JPEGLSLossless")),
    "bundle .201": Variant(bundle=True, options=transcoding("HTJ2KLossless")),
    "TCP_NODELAY=1 for Orthanc": Variant(environment={"TCP_NODELAY": "1"}),
    "TCP_BUFFER_LENGTH=129076 for Orthanc": Variant(environment={"TCP_BUFFER_LENGTH": "129076"}),
}
