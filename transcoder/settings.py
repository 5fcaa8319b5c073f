"""The ``IngestTranscoder`` section of the configuration: its keys, defaults and meaning."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

SECTION = "IngestTranscoder"
KEEP = "Keep"

# The origins of instances that Orthanc tells apart.
ORIGINS = ("cstore", "http", "job", "lua", "plugin", "webdav", "unknown")

_Texts = str | tuple[str, ...]
_Numbers = int | tuple[int, ...]
_Natural = Annotated[int, Meta(ge=0)]


class Lossy(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How much a rule may lose. Exactly the bound of its target has to be given, so that no default loses anything."""

    maximum_error: Annotated[
        Annotated[int, Meta(ge=1, le=255)] | None,
        Meta(
            description="JPEGLSNearLossless only, and required there: no stored value of any pixel differs by more; "
            "1 to 255"
        ),
    ] = None
    maximum_rms_error: Annotated[
        Annotated[float, Meta(ge=1, le=1000)] | None,
        Meta(
            description="JPEG2000 only, and required there: root of the mean squared difference of stored values, in "
            "each frame; 1 to 1000"
        ),
    ] = None
    again: Annotated[
        bool,
        Meta(
            description="Whether images that were compressed with loss before (0028,2110) are compressed once more; "
            "else they are kept"
        ),
    ] = False


class Rule(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Conditions, and what is done with an instance for which all of them hold.

    A condition that is absent holds for every instance. A condition on an attribute that the instance does not have,
    or that cannot be read, does not hold.
    """

    action: Annotated[
        str,
        Meta(
            description="Keep, or the lossless target: a transfer syntax UID or its keyword, such as JPEGLosslessSV1; "
            "a lossy one only with Lossy"
        ),
    ]
    lossy: Annotated[
        Lossy | None,
        Meta(
            description="Required beside JPEGLSNearLossless and JPEG2000, and refused beside others: how much may be "
            "lost, see below"
        ),
    ] = None
    name: Annotated[
        str, Meta(description="What counters and logs call the rule; Rules[n], counted from 0, when empty")
    ] = ""
    modality: Annotated[_Texts | None, Meta(description="Modality (0008,0060), one value or a list")] = None
    sop_class: Annotated[
        _Texts | None, Meta(description="SOP class UID or keyword, such as CTImageStorage, one or a list")
    ] = None
    transfer_syntax: Annotated[
        _Texts | None, Meta(description="Transfer syntax received, UID or keyword, one or a list")
    ] = None
    photometric_interpretation: Annotated[
        _Texts | None, Meta(description="Photometric Interpretation (0028,0004), one value or a list")
    ] = None
    origin: Annotated[
        _Texts | None, Meta(description=f"Where the instance came from, one or a list of {', '.join(ORIGINS)}")
    ] = None
    bits_stored: Annotated[_Numbers | None, Meta(description="Bits Stored (0028,0101), one number or a list")] = None
    samples_per_pixel: Annotated[
        _Numbers | None, Meta(description="Samples per Pixel (0028,0002), one number or a list")
    ] = None
    minimum_bytes: Annotated[_Natural | None, Meta(description="Size of the received file in bytes, at least")] = None
    maximum_bytes: Annotated[_Natural | None, Meta(description="Size of the received file in bytes, at most")] = None
    minimum_rows: Annotated[_Natural | None, Meta(description="Rows (0028,0010), at least")] = None
    maximum_rows: Annotated[_Natural | None, Meta(description="Rows (0028,0010), at most")] = None
    minimum_frames: Annotated[
        _Natural | None, Meta(description="Number of Frames (0028,0008), 1 when absent, at least")
    ] = None
    maximum_frames: Annotated[
        _Natural | None, Meta(description="Number of Frames (0028,0008), 1 when absent, at most")
    ] = None


class Settings(msgspec.Struct, rename="pascal", forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The section as a whole."""

    enable: Annotated[bool, Meta(description="Whether instances are transcoded as they are received")] = True
    default: Annotated[
        str, Meta(description="What to do when no rule matches: Keep, or a lossless target, UID or keyword")
    ] = KEEP
    rules: Annotated[tuple[Rule, ...], Meta(description="Tried in order; the first that matches decides")] = ()
    verify: Annotated[
        bool, Meta(description="Decode every new frame and compare it with the received pixels before storing it")
    ] = True
    dry_run: Annotated[
        bool, Meta(description="Do all the work and count what it would have brought, but keep every original")
    ] = False
    minimum_size_bytes: Annotated[int, Meta(description="Files smaller than this are kept", ge=0)] = 0
    maximum_size_bytes: Annotated[
        int,
        Meta(
            description="Files larger than this are kept: transcoding holds up to about three times a file's size in "
            "memory",
            ge=1,
        ),
    ] = 1 << 30
    maximum_inflated_bytes: Annotated[
        int,
        Meta(
            description="Deflated data sets that inflate, and compressed pixels that decode, to more than this are "
            "kept (decompression bombs)",
            ge=1,
        ),
    ] = 256 << 20
    recompress: Annotated[
        bool,
        Meta(
            description="Whether instances that come losslessly compressed (RLE, .57, .70, .80, .90, .201, .202) are "
            "decoded, in a process of their own, and transcoded too; otherwise they are kept"
        ),
    ] = False
    decoder_memory_megabytes: Annotated[
        int, Meta(description="Recompress: address space of the decoder process, in MB", ge=256, le=65536)
    ] = 1024
    decoder_seconds: Annotated[
        float,
        Meta(
            description="Recompress: longest time for decoding one instance; beyond, the decoder process is killed and "
            "the instance kept. No other instance is received meanwhile",
            ge=1,
            le=60,
        ),
    ] = 5.0
