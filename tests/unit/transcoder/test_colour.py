"""Colour: a stream agrees with Photometric Interpretation, and no reader shows other colours than before."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from subprocess import run
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_color_lut, get_decoder, pixel_array
from pydicom.uid import JPEGLosslessSV1

from harness.orthanc_process import BUNDLE
from tests.support.independent import PROGRAMS, converted, installed, read
from tests.support.samples import SYNTAX, TARGETS, data_set, part10
from tests.unit.transcoder.test_recompress import padded
from transcoder import Reason, Settings, Transcoder

# DCMTK's viewers by what they decode; it has none for JPEG 2000.
VIEWERS = {"JPEGLosslessSV1": "dcmj2pnm", "JPEGLSLossless": "dcml2pnm", "RLELossless": "dcm2pnm"}
Picture = NDArray[np.generic]


@dataclass(frozen=True)
class Colour:
    """One way to say a colour, in one width."""

    photometric: str
    allocated: int = 8
    stored: int = 8
    planar: int = 0


COLOURS = {
    "RGB": Colour("RGB"),
    "RGB by plane": Colour("RGB", planar=1),
    "RGB of 12 bits by plane": Colour("RGB", 16, 12, planar=1),
    "RGB of 16 bits": Colour("RGB", 16, 16),
    "YBR_FULL": Colour("YBR_FULL"),
    "YBR_FULL by plane": Colour("YBR_FULL", planar=1),
    "YBR_FULL of 16 bits": Colour("YBR_FULL", 16, 16),
    "PALETTE COLOR": Colour("PALETTE COLOR"),
    "PALETTE COLOR of 16 bits": Colour("PALETTE COLOR", 16, 16),
}


# Some reader shows these in other colours, whatever the stream says: of YBR_FULL Orthanc (see the integration test), of
# 16-bit RLE GDCM.
KEPT = {
    (name, target)
    for name, colour in COLOURS.items()
    for target in TARGETS
    if (colour.photometric == "YBR_FULL" and target in ("JPEGLSLossless", "RLELossless"))
    or (colour.photometric == "RGB" and colour.allocated == 16 and target == "RLELossless")
}
CASES = [(name, target) for name in COLOURS for target in TARGETS if (name, target) not in KEPT]


def picture(stored: int) -> Picture:
    """Patches in which each component takes each of its steps with each of the others'; 96 x 128 x 3."""
    y, x = np.mgrid[:96, :128]
    top = (1 << stored) - 1
    planes = (x // 16 * top // 7, y // 16 * top // 5, (x // 16 + y // 16) % 4 * top // 3)
    return np.stack(planes, axis=-1).astype("u1" if stored <= 8 else "<u2")


@cache
def native(name: str) -> bytes:
    """A native file of one of the colours."""
    colour = COLOURS[name]
    pixels = picture(colour.stored)
    if colour.photometric == "PALETTE COLOR":
        pixels = pixels[..., 0]
    ds = data_set(pixels, stored=colour.stored, photometric=colour.photometric, planar=colour.planar)
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.PatientID = "1.2.3.1", "1.2.3.2", "colour"
    if colour.photometric == "PALETTE COLOR":
        entries = 1 << colour.stored
        for shift, component in enumerate(("Red", "Green", "Blue")):
            table = np.roll(np.arange(entries, dtype="u4") * 65535 // (entries - 1), entries // 3 * shift).astype("<u2")
            setattr(ds, f"{component}PaletteColorLookupTableData", table.tobytes())
    return part10(ds)


@cache
def transcoded(name: str, target: str) -> bytes:
    """The same in the target's syntax."""
    outcome = Transcoder(Settings(default=target)).transcode(native(name), "http")
    assert outcome.dicom is not None, (outcome.reason, outcome.detail)
    return outcome.dicom


@pytest.mark.parametrize(("name", "target"), CASES)
def test_photometric_interpretation_stays_and_samples_are_by_pixel(name: str, target: str) -> None:
    ds = read(transcoded(name, target))
    assert ds.PhotometricInterpretation == COLOURS[name].photometric
    assert ds.get("PlanarConfiguration", 0) == 0


DECODER_DEPENDENCIES: dict[str, tuple[str, ...]] = {}


def is_available(_uid: str) -> bool:
    """pydicom asks this of a plugin's module."""
    return True


def decode_jpeg_lossless(stream: bytes, _runner: Any) -> bytes:
    """Samples as they are in the stream, by a decoder that converts no colours. pydicom then converts them."""
    return bytes(np.asarray(imagecodecs.jpegsof3_decode(stream)).tobytes())


@pytest.fixture(autouse=True)
def _pydicom_reads_jpeg_lossless() -> Iterator[None]:
    """pydicom's own plugins for it are not installed: one is under the GPL, the other crashes on a bad argument."""
    decoder = get_decoder(JPEGLosslessSV1)
    decoder.add_plugin("test_colour", (__name__, "decode_jpeg_lossless"))
    yield
    decoder.remove_plugin("test_colour")


def shown_by_pydicom(content: bytes) -> Picture:
    """As pydicom would display it: colours converted, palettes applied. It may not warn of a contradiction."""
    ds = read(content)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if ds.PhotometricInterpretation == "PALETTE COLOR":
            return apply_color_lut(pixel_array(io.BytesIO(content), raw=True), ds)
        return pixel_array(io.BytesIO(content), raw=False)


@pytest.mark.parametrize(("name", "target"), CASES)
def test_pydicom_shows_the_same_colours(name: str, target: str) -> None:
    if name == "YBR_FULL of 16 bits":
        # pydicom converts 8 bits only, and refuses before and after.
        for content in (native(name), transcoded(name, target)):
            with pytest.raises(ValueError, match="8"):
                shown_by_pydicom(content)
        return
    assert np.array_equal(shown_by_pydicom(native(name)), shown_by_pydicom(transcoded(name, target)))


def test_ybr_full_of_the_size_and_kind_reported_is_no_longer_named_rgb() -> None:
    """480 x 640 x 3, 8 bits, by pixel, explicit little endian: pydicom's colours were off by up to 239."""
    pixels = np.ascontiguousarray(np.kron(picture(8), np.ones((5, 5, 1), "u1")))
    original = part10(data_set(pixels, photometric="YBR_FULL"))
    outcome = Transcoder(Settings(default="JPEGLosslessSV1")).transcode(original, "http")
    assert outcome.dicom is not None
    assert np.array_equal(shown_by_pydicom(original), shown_by_pydicom(outcome.dicom))


# What the streams say


def segments(stream: bytes) -> dict[int, bytes]:
    """The marker segments before the first scan or tile (ISO/IEC 10918-1 B.1.1.4, 15444-1 A.1.2)."""
    found, offset = {}, 2
    while (marker := stream[offset + 1]) not in (0xDA, 0x90):
        size = int.from_bytes(stream[offset + 2 : offset + 4], "big")
        found[marker] = stream[offset + 4 : offset + 2 + size]
        offset += 2 + size
    return found


def said_by_jpeg(found: dict[int, bytes]) -> str:
    """JPEG and JPEG-LS: the frame header's component identifiers, and every application marker."""
    frame = found.get(0xC3) or found[0xF7]
    names = [frame[6 + 3 * number] for number in range(frame[5])]
    markers = {marker: segment for marker, segment in found.items() if 0xE0 <= marker <= 0xEF}
    if markers == {0xEE: b"Adobe\x00\x64\0\0\0\0\0"}:
        return f"components {', '.join(map(chr, names))}; Adobe marker: no transformation"
    assert not markers
    return f"component{'s' * (len(names) > 1)} {', '.join(map(str, names))}; no marker"


def said_by(name: str, target: str) -> str:
    """What the stream says of its colours, in the words of docs/design.md; or that there is none."""
    outcome = Transcoder(Settings(default=target)).transcode(native(name), "http")
    if outcome.reason is Reason.COLOURS:
        return "(kept)"
    assert outcome.dicom is not None
    stream = next(generate_frames(read(outcome.dicom).PixelData, number_of_frames=1))
    if target == "RLELossless":
        return "nothing"
    found = segments(stream)
    if target.startswith("JPEGL"):
        return said_by_jpeg(found)
    assert found[0x52][4] == 0  # SGcod: multiple component transformation, ISO/IEC 15444-1 table A.17
    return "no component transformation"


@pytest.mark.parametrize("target", TARGETS)
def test_streams_say_what_the_documentation_says_they_do(target: str) -> None:
    models = ("RGB", "RGB of 16 bits", "YBR_FULL", "PALETTE COLOR")
    row = " | ".join(
        [
            f".{SYNTAX[target].rpartition('.4.')[2]}" if target != "RLELossless" else "RLE",
            *(said_by(name, target) for name in models),
        ]
    )
    assert f"| {row} |" in (BUNDLE / "docs" / "design.md").read_text()


@pytest.mark.parametrize("name", COLOURS)
def test_width_and_planes_do_not_change_what_a_stream_says(name: str) -> None:
    for target in TARGETS:
        if (name, target) not in KEPT:
            assert said_by(name, target) == said_by(COLOURS[name].photometric, target)


@pytest.mark.parametrize(("name", "target"), sorted(KEPT))
def test_what_a_reader_would_show_in_other_colours_is_kept(name: str, target: str) -> None:
    outcome = Transcoder(Settings(default=target)).transcode(native(name), "http")
    assert outcome.reason is Reason.COLOURS
    assert outcome.detail


# DCMTK and GDCM


def shown_by_dcmtk(content: bytes, viewer: str) -> Picture:
    """8-bit picture by one of DCMTK's viewers."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.dcm", Path(folder) / "out.ppm"
        source.write_bytes(content)
        run([installed(viewer), "+op", str(source), str(target)], check=True, capture_output=True, timeout=60)
        return np.asarray(Image.open(target)).astype(int)


@pytest.mark.parametrize(("name", "target"), [case for case in CASES if case[1] in VIEWERS])
def test_dcmtk_s_viewers_show_the_same_colours(name: str, target: str) -> None:
    viewer = VIEWERS[target]
    before, after = shown_by_dcmtk(native(name), viewer), shown_by_dcmtk(transcoded(name, target), viewer)
    if COLOURS[name].photometric == "YBR_FULL":
        # Native YBR_FULL is converted by DCMTK's renderer, JPEG by its decoder, and they round in other ways: with what
        # DCMTK encoded, too.
        assert np.abs(before - after).max() <= 2
        before = shown_by_dcmtk(converted(native(name), ["dcmcjpeg", "+e1"]), viewer)
    assert np.array_equal(before, after)


@pytest.mark.parametrize(("name", "target"), [case for case in CASES if SYNTAX[case[1]] in PROGRAMS])
def test_what_dcmtk_and_gdcm_decompress_has_the_same_colours(name: str, target: str) -> None:
    """They differ: dcmdjpeg makes RGB of YBR_FULL, and gdcmconv rounds palettes of 16 bits, also in native files."""
    for program, *options in PROGRAMS[SYNTAX[target]]:
        command = [program, *(option for option in options if option != "+cn")]
        before, after = converted(native(name), command), converted(transcoded(name, target), command)
        if name == "YBR_FULL of 16 bits":
            difference = shown_by_dcmtk(before, "dcm2pnm") - shown_by_dcmtk(after, "dcm2pnm")
            assert np.abs(difference).max() <= 2, program
        else:
            assert np.array_equal(shown_by_pydicom(before), shown_by_pydicom(after)), program


@pytest.mark.parametrize("planar", [0, 1])
def test_gdcm_mixes_up_its_own_rle_of_16_bit_colour(planar: int) -> None:
    """Why that is kept: no other stream would help."""
    own = converted(native(("RGB of 16 bits", "RGB of 12 bits by plane")[planar]), ["gdcmconv", "--rle"])
    right, wrong = shown_by_pydicom(own), shown_by_pydicom(converted(own, ["gdcmconv", "--raw"]))
    assert not np.array_equal(right, wrong)


# Recompress


SOURCES = {
    "dcmcjpeg": ["dcmcjpeg", "+e1"],  # names components 0, 1, 2 in RGB, and has a JFIF marker in YBR_FULL
    "gdcmconv JPEG": ["gdcmconv", "--jpeg"],
    "gdcmconv JPEG 2000": ["gdcmconv", "--j2k"],
    "gdcmconv RLE": ["gdcmconv", "--rle"],
    "dcmcjpls": ["dcmcjpls"],
}


@pytest.fixture(scope="module")
def recompressors() -> Iterator[dict[str, Transcoder]]:
    made = {target: Transcoder(Settings(default=target, recompress=True)) for target in TARGETS}
    yield made
    for transcoder in made.values():
        transcoder.close()


@pytest.mark.parametrize("source", SOURCES)
def test_recompressed_colour_is_shown_as_before(recompressors: dict[str, Transcoder], source: str) -> None:
    ends: Counter[Reason] = Counter()
    for name, target in [*CASES, *sorted(KEPT)]:
        if name == "YBR_FULL of 16 bits" or (COLOURS[name].allocated == 16 and source == "gdcmconv RLE"):
            continue
        sent = padded(converted(native(name), SOURCES[source]))
        outcome = recompressors[target].transcode(sent, "http")
        ends[outcome.reason] += 1
        assert ((name, target) in KEPT) == (outcome.reason is Reason.COLOURS) or outcome.reason is Reason.COMPRESSED
        if outcome.dicom is not None:
            assert np.array_equal(shown_by_pydicom(sent), shown_by_pydicom(outcome.dicom)), (name, target)
    assert ends[Reason.TRANSCODED] >= 10, ends
