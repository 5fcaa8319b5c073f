"""Input that comes compressed: kept with a reason, or the same pixels in another syntax and all else as it was."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
import zlib
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, encapsulate_extended

from tests.support.independent import assert_same_elements, decoded, read
from tests.support.readers import complaints_of_dcmtk
from tests.support.samples import SYNTAX, TARGETS, data_set, image, part10, wheel_files, with_furniture
from transcoder import Outcome, Reason, Rule, Settings, Transcoder, explain

LOSSLESS = {*SYNTAX.values(), "1.2.840.10008.1.2.4.57"}
DEATHS = {Reason.DECODER_DIED, Reason.DECODER_TIMED_OUT, Reason.DECODER_RESTING, Reason.ERROR}


@pytest.fixture(scope="module")
def transcoders() -> Iterator[dict[str, Transcoder]]:
    """One for each target, with its worker."""
    made = {target: Transcoder(Settings(default=target, recompress=True)) for target in TARGETS}
    yield made
    for transcoder in made.values():
        transcoder.close()


@cache
def compressed(source: str, *, colour: bool = False, signed: bool = False, frames: int = 1) -> bytes:
    """A file that the transcoder itself compressed, badly, so that another syntax brings something."""
    pixels = image(40, 48, allocated=8, samples=3) if colour else image(40, 48, stored=12, signed=signed)
    if frames > 1:
        pixels = np.stack([pixels >> np.uint8(number % 3) for number in range(frames)])
    ds = data_set(pixels, stored=8 if colour else 12, frames=frames if frames > 1 else None)
    native = part10(with_furniture(ds))
    outcome = Transcoder(Settings(default=source)).transcode(native, "http")
    assert outcome.dicom is not None, (source, outcome)
    return outcome.dicom


def reencapsulated(
    dicom: bytes, streams: list[bytes], *, has_bot: bool = True, fragments: int = 1, extended: bool = False
) -> bytes:
    """The file with its frames wrapped in another way."""
    ds = read(dicom)
    if extended:
        ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(streams)
        ds.add_new(0x7FE00003, "UV", sum(map(len, streams)))
    else:
        ds.PixelData = encapsulate(streams, fragments_per_frame=fragments, has_bot=has_bot)
    ds["PixelData"].is_undefined_length = True
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def streams_of(dicom: bytes) -> list[bytes]:
    ds = read(dicom)
    return list(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=int(ds.get("NumberOfFrames", 1))))


def padded(dicom: bytes) -> bytes:
    """With zeros after each stream, which no decoder reads: nothing is kept then for having been smaller before."""
    ds = read(dicom)
    if ds.file_meta.TransferSyntaxUID == SYNTAX["RLELossless"]:
        return dicom
    frames = [stream.rstrip(b"\0") + bytes(30_000) for stream in streams_of(dicom)]
    return reencapsulated(dicom, frames)


def assert_recompressed(sent: bytes, outcome: Outcome, target: str, reference: bytes | None = None) -> None:
    """Checks everything. ``reference`` has the same pixels, for files that independent decoders refuse."""
    assert outcome.dicom is not None, (outcome.reason, outcome.detail)
    assert len(outcome.dicom) < len(sent)
    after = read(outcome.dicom)
    assert after.file_meta.TransferSyntaxUID == SYNTAX[target]
    assert "ExtendedOffsetTable" not in after
    assert 0x7FE00003 not in after
    before = read(sent)
    for tag in (0x7FE00001, 0x7FE00002, 0x7FE00003):
        before.pop(tag, None)
    out = io.BytesIO()
    before.save_as(out, enforce_file_format=True)
    assert_same_elements(out.getvalue(), outcome.dicom)
    expected, found = decoded(reference or sent), decoded(outcome.dicom)
    assert expected.dtype == found.dtype
    assert np.array_equal(expected, found)
    assert not complaints_of_dcmtk(outcome.dicom) or complaints_of_dcmtk(sent)


@pytest.mark.parametrize("target", TARGETS)
def test_every_compressed_file_of_the_wheel_is_kept_with_a_reason_or_comes_back_bit_exact(
    transcoders: dict[str, Transcoder], target: str
) -> None:
    ends: Counter[Reason] = Counter()
    for name, path in wheel_files().items():
        sent = path.read_bytes()
        try:
            syntax = read(sent).file_meta.TransferSyntaxUID
        except Exception:  # noqa: BLE001 - no DICOM file
            continue
        if not syntax.is_compressed or syntax.is_deflated:
            continue
        outcome = transcoders[target].transcode(sent, "http")
        ends[outcome.reason] += 1
        assert outcome.reason not in DEATHS | {Reason.VERIFICATION_FAILED, Reason.DECODERS_DISAGREE}, (name, outcome)
        if syntax not in LOSSLESS or syntax == SYNTAX[target]:
            assert outcome.reason in {Reason.COMPRESSED, Reason.NO_PIXEL_DATA}, (name, outcome)
        if outcome.transcoded:
            assert_recompressed(sent, outcome, target)
    # HTJ2K needs images of some size.
    assert ends[Reason.TRANSCODED] >= (0 if target.startswith("HTJ2K") else 1), ends


@pytest.mark.parametrize("source", TARGETS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", ["grey", "signed", "colour", "frames"])
def test_every_syntax_becomes_every_other_with_the_same_pixels(
    transcoders: dict[str, Transcoder], source: str, target: str, kind: str
) -> None:
    made = compressed(source, colour=kind == "colour", signed=kind == "signed", frames=3 if kind == "frames" else 1)
    sent = padded(made)
    outcome = transcoders[target].transcode(sent, "http")
    assert outcome.source_syntax == SYNTAX[source]
    if source == target:
        assert (outcome.reason, outcome.detail) == (Reason.COMPRESSED, "as the rule wants it")
        return
    assert outcome.decode_ns > 0
    if source == "RLELossless" and outcome.reason is Reason.NOT_SMALLER:
        return
    assert_recompressed(sent, outcome, target, made)


@pytest.mark.parametrize("predictor", range(1, 8))
def test_jpeg_lossless_of_another_encoder_with_any_predictor(
    transcoders: dict[str, Transcoder], predictor: int, tmp_path: Path
) -> None:
    if shutil.which("dcmcjpeg") is None:
        pytest.skip("dcmcjpeg is not installed")
    # The last has the largest differences that there can be: 16 bits of them, a code of its own (ITU-T T.81 H.1.2.2).
    extremes = np.where(np.random.default_rng(7).random((80, 96)) < 0.5, 0, 65535).astype("<u2")
    kinds = [(image(80, 96, stored=12), 12), (image(80, 96, stored=12, signed=True), 12), (extremes, 16)]
    for number, (pixels, stored) in enumerate(kinds):
        (tmp_path / f"{number}.dcm").write_bytes(part10(data_set(pixels, stored=stored)))
        made = tmp_path / f"{number}.jpg.dcm"
        subprocess.run(
            ["dcmcjpeg", "+el", "+sv", str(predictor), str(tmp_path / f"{number}.dcm"), str(made)], check=True
        )
        sent = made.read_bytes()
        assert read(sent).file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.57"
        for target in ("JPEGLosslessSV1", "JPEGLSLossless"):
            outcome = transcoders[target].transcode(padded(sent), "http")
            assert_recompressed(padded(sent), outcome, target, sent)


@pytest.mark.parametrize(
    ("source", "command"),
    [
        ("1.2.840.10008.1.2.4.80", ["dcmcjpls", "+el"]),
        ("1.2.840.10008.1.2.5", ["dcmcrle"]),
        ("1.2.840.10008.1.2.4.70", ["gdcmconv", "--jpeg"]),
        ("1.2.840.10008.1.2.4.80", ["gdcmconv", "--jpegls"]),
        ("1.2.840.10008.1.2.4.90", ["gdcmconv", "--j2k"]),
        ("1.2.840.10008.1.2.5", ["gdcmconv", "--rle"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else value,
)
def test_files_of_other_encoders(
    transcoders: dict[str, Transcoder], source: str, command: list[str], tmp_path: Path
) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = 0
    for number, pixels in enumerate((image(80, 96, stored=12), image(80, 96, allocated=8, samples=3))):
        (tmp_path / f"{number}.dcm").write_bytes(part10(data_set(pixels, stored=(12, 8)[number])))
        made = tmp_path / f"{number}.out.dcm"
        subprocess.run([*command, str(tmp_path / f"{number}.dcm"), str(made)], check=True, capture_output=True)
        sent = made.read_bytes()
        assert read(sent).file_meta.TransferSyntaxUID == source
        for target in ("JPEGLSLossless", "JPEG2000Lossless", "HTJ2KLossless"):
            outcome = transcoders[target].transcode(padded(sent), "http")
            if outcome.reason is Reason.COMPRESSED or (source == SYNTAX["RLELossless"] and not outcome.transcoded):
                continue
            assert_recompressed(padded(sent), outcome, target, sent)
            done += 1
    assert done >= 2


@pytest.mark.parametrize(
    "wrapping",
    [{"has_bot": False}, {"fragments": 3}, {"extended": True}],
    ids=["no offset table", "three fragments a frame", "extended offset table"],
)
def test_however_frames_are_wrapped(transcoders: dict[str, Transcoder], wrapping: dict[str, int]) -> None:
    plain = compressed("JPEGLosslessSV1", frames=3)
    sent = padded(plain)
    outcome = transcoders["JPEGLSLossless"].transcode(reencapsulated(sent, streams_of(sent), **wrapping), "http")  # type: ignore[arg-type]
    assert outcome.dicom is not None, outcome
    assert_recompressed(reencapsulated(sent, streams_of(sent), **wrapping), outcome, "JPEGLSLossless", plain)  # type: ignore[arg-type]
    fragments = read(outcome.dicom).PixelData
    assert struct.unpack_from("<L", fragments, 4)[0] == 12, "a basic offset table of three frames"


def test_fragments_that_belong_to_no_frame_for_certain_are_kept(transcoders: dict[str, Transcoder]) -> None:
    sent = compressed("RLELossless", frames=3)
    streams = streams_of(sent)
    loose = reencapsulated(sent, [*streams, streams[0]], has_bot=False)
    assert transcoders["JPEGLSLossless"].transcode(loose, "http").reason is Reason.MALFORMED
    lying = sent.replace(struct.pack("<L", 12) + struct.pack("<L", 0), struct.pack("<L", 12) + struct.pack("<L", 2), 1)
    assert lying != sent
    outcome = transcoders["JPEGLSLossless"].transcode(lying, "http")
    assert (outcome.reason, outcome.detail) == (Reason.MALFORMED, "an offset table that does not point at fragments")


def test_a_frame_in_several_fragments_is_no_rle(transcoders: dict[str, Transcoder]) -> None:
    """PS3.5 A.4.2: each frame is exactly one fragment."""
    sent = compressed("RLELossless", frames=3)
    cut = reencapsulated(sent, streams_of(sent), fragments=2)
    assert transcoders["JPEGLSLossless"].transcode(cut, "http").reason is Reason.MALFORMED


@pytest.mark.parametrize(
    "source", ["JPEGLosslessSV1", "JPEGLSLossless", "JPEG2000Lossless", "HTJ2KLossless", "RLELossless"]
)
@pytest.mark.parametrize("number_of_frames", [None, 1])
def test_no_frame_is_dropped_where_there_are_more_than_the_file_says(
    transcoders: dict[str, Transcoder], source: str, number_of_frames: int | None
) -> None:
    """Without Number of Frames all fragments are one stream, of which decoders read only the first image."""
    sent = compressed(source, frames=3)
    ds = read(reencapsulated(sent, streams_of(sent), has_bot=False))
    del ds.NumberOfFrames
    if number_of_frames is not None:
        ds.NumberOfFrames = number_of_frames
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    target = "RLELossless" if source == "JPEGLSLossless" else "JPEGLSLossless"
    outcome = transcoders[target].transcode(out.getvalue(), "http")
    assert outcome.dicom is None
    assert outcome.reason in {Reason.DECODER_REFUSED, Reason.MALFORMED}, outcome


def test_a_stream_that_claims_another_image_is_not_decoded(transcoders: dict[str, Transcoder]) -> None:
    bomb = bytearray(streams_of(compressed("JPEG2000Lossless"))[0])
    struct.pack_into(">LL", bomb, 8, 1 << 30, 1 << 30)
    outcome = transcoders["JPEGLSLossless"].transcode(
        reencapsulated(compressed("JPEG2000Lossless"), [bytes(bomb)]), "http"
    )
    assert outcome.reason is Reason.DECODER_REFUSED
    assert "the stream is 1073741824 x 1073741824 x 1, the instance 40 x 48 x 1" in outcome.detail


def _claiming(dicom: bytes, rows: int, columns: int, frames: int | None = None) -> bytes:
    ds = read(dicom)
    ds.Rows, ds.Columns = rows, columns
    if frames:
        ds.NumberOfFrames = frames
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_a_bomb_that_header_and_stream_agree_on_is_kept_within_the_limits() -> None:
    """A stream of a few bytes that claims 200 MB, and an instance that would decode to 8 GB."""
    transcoder = Transcoder(Settings(default="JPEGLSLossless", recompress=True, decoder_memory_megabytes=256))
    try:
        bomb = bytearray(streams_of(compressed("JPEG2000Lossless"))[0])
        struct.pack_into(">LL", bomb, 8, 10_000, 10_000)
        struct.pack_into(">LL", bomb, 24, 10_000, 10_000)
        sent = _claiming(reencapsulated(compressed("JPEG2000Lossless"), [bytes(bomb)]), 10_000, 10_000)
        outcome = transcoder.transcode(sent, "http")
        assert outcome.reason in {Reason.DECODER_REFUSED, Reason.DECODER_MEMORY, Reason.DECODER_DIED}, outcome
        outcome = transcoder.transcode(_claiming(sent, 65535, 65535), "http")
        assert (outcome.reason, outcome.detail) == (Reason.TOO_LARGE, "decodes to 8589672450 bytes")
        assert transcoder.transcode(compressed("JPEG2000Lossless"), "http").reason in {
            Reason.TRANSCODED,
            Reason.NOT_SMALLER,
        }
    finally:
        transcoder.close()


@pytest.mark.parametrize(
    ("photometric", "kept"),
    [("YBR_RCT", True), ("YBR_ICT", True), ("YBR_FULL_422", True), ("YBR_FULL", False), ("RGB", False)],
)
def test_colour_is_recompressed_where_what_the_file_says_of_it_stays_true(
    transcoders: dict[str, Transcoder], photometric: str, kept: bool
) -> None:
    ds = read(padded(compressed("JPEGLSLossless", colour=True)))
    ds.PhotometricInterpretation = photometric
    out = io.BytesIO()
    ds.save_as(out, enforce_file_format=True)
    outcome = transcoders["JPEGLosslessSV1"].transcode(out.getvalue(), "http")
    assert (outcome.reason is Reason.PHOTOMETRIC) is kept, outcome
    if not kept:
        assert outcome.dicom is not None
        assert read(outcome.dicom).PhotometricInterpretation == photometric


def test_a_colour_transformation_in_the_stream_is_undone_for_rgb_only(transcoders: dict[str, Transcoder]) -> None:
    import imagecodecs

    pixels = image(64, 64, allocated=8, samples=3)
    stream = bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat="j2k", reversible=True, mct=True))
    for photometric, reason in (("RGB", Reason.TRANSCODED), ("YBR_FULL", Reason.DECODER_REFUSED)):
        ds = data_set(pixels, photometric=photometric)
        ds.PixelData = encapsulate([stream + bytes(30_000)])
        ds["PixelData"].is_undefined_length = True
        outcome = transcoders["JPEGLosslessSV1"].transcode(part10(ds, "1.2.840.10008.1.2.4.90"), "http")
        assert outcome.reason is reason, outcome
        if outcome.dicom is not None:
            assert np.array_equal(decoded(outcome.dicom), pixels)


def test_signs_that_contradict_one_another_are_kept(transcoders: dict[str, Transcoder]) -> None:
    sent = wheel_files()["test_files/J2K_pixelrep_mismatch.dcm"].read_bytes()
    outcome = transcoders["JPEGLSLossless"].transcode(sent, "http")
    assert outcome.reason is Reason.DECODER_REFUSED
    assert "disagree about the sign" in outcome.detail


def test_without_the_key_nothing_is_decoded_and_no_process_started() -> None:
    transcoder = Transcoder(Settings(default="JPEGLSLossless"))
    assert transcoder.decoder is None
    outcome = transcoder.transcode(compressed("RLELossless"), "http")
    assert (outcome.reason, outcome.decode_ns) == (Reason.COMPRESSED, 0)
    assert Transcoder(Settings(recompress=True)).decoder is None, "nothing to transcode to"
    assert Transcoder(Settings(default="JPEGLSLossless", recompress=True, enable=False)).decoder is None


def test_rules_decide_about_compressed_input_too_and_explain_says_so() -> None:
    rules = (
        Rule(name="old", transfer_syntax=("RLELossless", "JPEGLosslessSV1"), action="JPEGLSLossless"),
        Rule(name="rest", action="Keep"),
    )
    transcoder = Transcoder(Settings(rules=rules, recompress=True))
    try:
        told = explain(transcoder, compressed("RLELossless"), "http")
        assert (told.outcome, [rule.decides for rule in told.rules]) == ("transcoded", [True, False, False])
        assert told.facts["transfer_syntax"] == SYNTAX["RLELossless"]
        outcome = transcoder.transcode(compressed("JPEG2000Lossless"), "http")
        assert (outcome.reason, outcome.rule) == (Reason.BY_RULE, "rest")
    finally:
        transcoder.close()


SEEDS = [compressed(source, frames=frames) for source in TARGETS for frames in (1, 2)]
MUTATED: Counter[Reason] = Counter()


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    number=st.integers(0, len(SEEDS) - 1),
    where=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(min_size=1, max_size=4)), min_size=1, max_size=3
    ),
)
def test_mutated_streams_never_raise_and_never_give_other_pixels(
    transcoders: dict[str, Transcoder], number: int, where: list[tuple[float, int, bytes]]
) -> None:
    """Where a mutant is taken, an independent decoder sees the same pixels in what was sent and in what is stored."""
    mutant = bytearray(SEEDS[number])
    pixels = mutant.rindex(b"\xe0\x7f\x10\x00OB")
    for share, kind, spice in where:
        at = pixels + int(share * (len(mutant) - pixels - 140))
        if kind == 0:
            mutant[at : at + len(spice)] = spice
        elif kind == 1:
            del mutant[at : at + len(spice)]
        elif kind == 2:
            mutant[at:at] = spice
        else:
            del mutant[at:]
    target = "JPEGLSLossless" if number not in (2, 3) else "HTJ2KLossless"
    sent = bytes(mutant)
    outcome = transcoders[target].transcode(sent, "http")
    MUTATED[outcome.reason] += 1
    assert outcome.reason not in {Reason.ERROR, Reason.VERIFICATION_FAILED}, outcome
    if outcome.dicom is None:
        return
    try:
        expected: NDArray[np.generic] = decoded(sent)
    except Exception:  # noqa: BLE001 - the independent decoder is stricter, and has nothing to say
        return
    assert np.array_equal(expected, decoded(outcome.dicom)), zlib.crc32(sent)
