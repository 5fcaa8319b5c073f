"""A file that lost something says so as PS3.3 C.7.6.1.1.5 asks, and every other element is as it was."""

from __future__ import annotations

import io
import subprocess
from typing import Any

import pytest
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import UID, ImplicitVRLittleEndian

from tests.support.independent import read
from tests.support.lossy_samples import BOTH, NEAR, WAVELET, smooth, transcoded
from tests.support.samples import data_set, file_of, part10, wheel, with_furniture
from transcoder import Lossy, Reason, Rule
from transcoder.input.file_meta import read_file_meta
from transcoder.lossy.derived import derived_uid
from transcoder.lossy.elements import element_bytes, top_level
from transcoder.outcome import KeptError
from transcoder.policy.loss import Loss
from transcoder.syntaxes import Target

CHANGED = {
    "ImageType",
    "SOPInstanceUID",
    "DerivationDescription",
    "SourceImageSequence",
    "DerivationCodeSequence",
    "LossyImageCompression",
    "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
    "PixelData",
}


def lossy(dicom: bytes, rule: Rule = NEAR) -> Dataset:
    outcome = transcoded(dicom, rule)
    assert outcome.dicom is not None, f"{outcome.reason} {outcome.detail}"
    return read(outcome.dicom)


def source(**values: Any) -> Dataset:
    ds = data_set(smooth(), stored=12)
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


def assert_code(item: Dataset, value: str, meaning: str) -> None:
    assert (item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning) == (value, "DCM", meaning)


@BOTH
def test_a_file_says_that_it_lost_something_how_and_of_what(rule: Rule) -> None:
    before = source()
    dicom = part10(before)
    after = lossy(dicom, rule)
    method = {NEAR.name: "ISO_14495_1", WAVELET.name: "ISO_15444_1"}[rule.name]
    assert after.LossyImageCompression == "01"
    assert after.LossyImageCompressionMethod == method
    streams = len(after.PixelData) - 8 - 4 - 8  # table of one offset, and the header of the one fragment
    assert abs(float(after.LossyImageCompressionRatio) - 2 * 96 * 80 / streams) < 0.02
    assert list(after.ImageType) == ["DERIVED", "SECONDARY"]
    assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID != before.SOPInstanceUID
    assert after.SOPClassUID == after.file_meta.MediaStorageSOPClassUID == before.SOPClassUID
    (image,) = after.SourceImageSequence
    assert (image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID) == (before.SOPClassUID, "1.2.3.4")
    assert_code(image.PurposeOfReferenceCodeSequence[0], "121320", "Uncompressed predecessor")
    assert_code(after.DerivationCodeSequence[0], "113040", "Lossy Compression")
    assert after.DerivationDescription.startswith("Lossy compression: ")
    assert f"ratio {after.LossyImageCompressionRatio}" in after.DerivationDescription
    assert (after.PhotometricInterpretation, after.BitsStored) == ("MONOCHROME2", 12)


@BOTH
@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm"])
def test_every_other_element_is_as_it_was_and_all_are_in_order(rule: Rule, name: str) -> None:
    dicom = wheel(name)
    after = lossy(dicom, rule)
    before = read(dicom)
    assert {str(element.keyword) for element in after} - {str(element.keyword) for element in before} <= CHANGED
    for element in before:
        if element.keyword not in CHANGED:
            assert after[element.tag].value == element.value, element
    for element in before.file_meta:
        if element.keyword not in {"MediaStorageSOPInstanceUID", "TransferSyntaxUID", "FileMetaInformationGroupLength"}:
            assert after.file_meta[element.tag].value == element.value
    tags = [int(element.tag) for element in after]
    assert tags == sorted(set(tags))
    assert list(after.ImageType)[1:] == list(before.ImageType)[1:]


def test_private_nested_and_odd_elements_survive_byte_for_byte() -> None:
    dicom = part10(with_furniture(source()))
    outcome = transcoded(dicom)
    assert outcome.dicom is not None
    others = [_raw_elements(file) for file in (dicom, outcome.dicom)]
    assert len(others[0]) >= 20
    assert others[0] == others[1]


def _raw_elements(dicom: bytes) -> dict[int, bytes]:
    data_set = memoryview(dicom)[read_file_meta(memoryview(dicom)).end :]
    changed = {tag_for_keyword(keyword) for keyword in CHANGED}
    return {
        tag: bytes(data_set[element.start : element.end])
        for tag, element in top_level(data_set).items()
        if tag not in changed
    }


def test_image_type_keeps_its_other_values() -> None:
    assert list(lossy(part10(source(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]))).ImageType) == [
        "DERIVED",
        "PRIMARY",
        "AXIAL",
    ]
    assert list(lossy(part10(source(ImageType="ORIGINAL"))).ImageType) == ["DERIVED", "SECONDARY"]
    assert list(lossy(part10(source(ImageType=""))).ImageType) == ["DERIVED", "SECONDARY"]


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian])
@pytest.mark.parametrize("undefined", [False, True])
def test_what_was_derived_before_goes_on(syntax: str | None, undefined: bool) -> None:
    ds = source(DerivationDescription="Filtered \xe4", SpecificCharacterSet="ISO_IR 100")
    first = Dataset()
    first.ReferencedSOPClassUID, first.ReferencedSOPInstanceUID = ds.SOPClassUID, "1.2.9"
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113051", "DCM", "Pixel by pixel subtraction"
    ds.SourceImageSequence, ds.DerivationCodeSequence = [first], [code]
    for keyword in ("SourceImageSequence", "DerivationCodeSequence"):
        ds[keyword].is_undefined_length = undefined
        ds[keyword].value[0].is_undefined_length_sequence_item = undefined
    after = lossy(part10(ds) if syntax is None else part10(ds, syntax))
    assert after.DerivationDescription.startswith("Filtered \xe4; Lossy compression: ")
    assert [one.ReferencedSOPInstanceUID for one in after.SourceImageSequence] == ["1.2.9", "1.2.3.4"]
    assert [one.CodeValue for one in after.DerivationCodeSequence] == ["113051", "113040"]


AGAIN = Rule(action="JPEGLSNearLossless", lossy=Lossy(maximum_error=3, again=True))


def test_again_appends_to_the_history() -> None:
    once = source(
        LossyImageCompression="01",
        LossyImageCompressionRatio=["12.5", "3"],
        LossyImageCompressionMethod=["ISO_10918_1", "ISO_15444_1"],
    )
    assert transcoded(part10(once)).reason is Reason.ALREADY_LOSSY
    after = lossy(part10(once), AGAIN)
    assert after.LossyImageCompression == "01"
    assert [float(ratio) for ratio in after.LossyImageCompressionRatio][:2] == [12.5, 3]
    assert list(after.LossyImageCompressionMethod) == ["ISO_10918_1", "ISO_15444_1", "ISO_14495_1"]
    assert len(after.LossyImageCompressionRatio) == 3
    # Only the flag: the new values are the first.
    assert lossy(part10(source(LossyImageCompression="01")), AGAIN).LossyImageCompressionMethod == "ISO_14495_1"
    # A new method would stand beside an old ratio.
    del once.LossyImageCompressionMethod
    assert transcoded(part10(once), AGAIN).reason is Reason.ALREADY_LOSSY


def test_not_lossy_so_far_is_no_history() -> None:
    assert lossy(part10(source(LossyImageCompression="00"))).LossyImageCompression == "01"
    assert lossy(part10(source(LossyImageCompressionRatio=None))).LossyImageCompressionMethod == "ISO_14495_1"


def test_the_new_identity_follows_from_the_old_one_and_what_was_done() -> None:
    near2, near3 = (Loss(Target.JPEG_LS_NEAR_LOSSLESS, bound) for bound in (2, 3))
    found = {
        derived_uid(uid, loss)
        for uid in ("1.2.3", "1.2.4")
        for loss in (near2, near3, Loss(Target.JPEG_2000, 2), Loss(Target.JPEG_2000, 2.5))
    }
    assert len(found) == 8
    for uid in found:
        assert UID(uid).is_valid
        assert len(uid) <= 44
        assert uid.startswith("2.25.")
    # Written down, because another version must not store another copy of what is sent again.
    assert derived_uid("1.2.3", near2) == "2.25.166516098286317581110164210213422010567"
    assert derived_uid("1.2.3", Loss(Target.JPEG_LS_NEAR_LOSSLESS, 2, again=True)) == derived_uid("1.2.3", near2)


def test_sent_again_with_other_pixels_it_is_the_same_instance_as_it_would_be_without_us() -> None:
    ds = source()
    one = lossy(part10(ds))
    ds.PixelData = smooth(signed=True).tobytes()
    ds.PixelRepresentation = 1
    assert lossy(part10(ds)).SOPInstanceUID == one.SOPInstanceUID


def test_retired_group_lengths_count_what_is_new() -> None:
    dicom = part10(source())
    start = dicom.index(b"\x08\x00\x16\x00UI")
    body = dicom[start:]
    end8, start28 = body.index(b"\x10\x00\x10\x00PN"), body.index(b"\x28\x00\x02\x00US")
    end28 = body.index(b"\xe0\x7f\x10\x00OW")
    lengths = [
        element_bytes(group << 16, b"UL", size.to_bytes(4, "little"))
        for group, size in ((8, end8), (0x28, end28 - start28))
    ]
    with_lengths = dicom[:start] + lengths[0] + body[:start28] + lengths[1] + body[start28:]
    outcome = transcoded(with_lengths)
    assert outcome.dicom is not None, outcome.detail
    after = read(outcome.dicom)
    plain = transcoded(dicom).dicom
    assert plain is not None
    new = plain[plain.index(b"\x08\x00\x08\x00CS") :]
    assert after[0x00080000].value == new.index(b"\x10\x00\x10\x00PN")
    assert after[0x00280000].value == new.index(b"\xe0\x7f\x10\x00OB") - new.index(b"\x28\x00\x02\x00US")


@BOTH
def test_dcmtk_reads_every_word_of_it(rule: Rule) -> None:
    outcome = transcoded(wheel("CT_small.dcm"), rule)
    assert outcome.dicom is not None
    done = subprocess.run(
        ["dcmdump", "--verbose", "--stop-on-error", "-"],
        input=outcome.dicom,
        capture_output=True,
        check=False,
        timeout=30,
    )
    if done.returncode != 0:  # older versions read no standard input
        pytest.skip("dcmdump reads no standard input")
    text = done.stdout.decode("latin-1")
    for line in ("(0028,2110) CS [01]", "SH [121320]", "SH [113040]", "CS [DERIVED\\PRIMARY\\AXIAL]"):
        assert line in text
    assert b"W: " not in done.stderr
    assert b"E: " not in done.stderr


HEAD = element_bytes(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.7") + element_bytes(0x00080018, b"UI", b"1.2.3.4")


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00282112, b"UN", b"3"),
        (0x00282110, b"LO", b"00"),
        (0x00082112, b"UN", b""),
        (0x00080000, b"UL", b"\0" * 8),
        (0x00080000, b"UL", b"\xff" * 4),
        (0x00080008, b"CS", b"X\\" + b"X" * 0xFFFC),
        (0x00280120, b"US", b"\0" * 4),
    ],
)
def test_hostile_values_keep_the_original(tag: int, vr: bytes, value: bytes) -> None:
    dicom = part10(source())
    whole = dcmread(io.BytesIO(dicom))
    new = element_bytes(tag, vr, value)
    at = min(
        (dicom.index(marker) for marker in _elements_after(whole, tag)),
        default=dicom.index(b"\xe0\x7f\x10\x00OW"),
    )
    outcome = transcoded(dicom[:at] + new + dicom[at:])
    assert outcome.dicom is None
    assert outcome.reason in {Reason.MALFORMED, Reason.ATTRIBUTES}, outcome


def _elements_after(ds: Dataset, tag: int) -> list[bytes]:
    later: list[DataElement] = [element for element in ds if int(element.tag) > tag]
    return [
        element.tag.group.to_bytes(2, "little") + element.tag.element.to_bytes(2, "little") + element.VR.encode()
        for element in later[:1]
    ]


def test_elements_out_of_order_or_twice_keep_the_original() -> None:
    dicom = part10(source())
    late = element_bytes(0x00080008, b"CS", b"ORIGINAL")
    at = dicom.index(b"\xe0\x7f\x10\x00OW")
    outcome = transcoded(dicom[:at] + late + dicom[at:])
    assert (outcome.reason, outcome.detail) == (Reason.MALFORMED, "(0008,0008) is not in ascending order")
    assert transcoded(dicom + element_bytes(0x00282110, b"CS", b"00")).reason is Reason.MALFORMED


def test_file_meta_information_without_an_instance_keeps_the_original() -> None:
    dicom = part10(source())
    body = dicom[dicom.index(b"\x08\x00\x16\x00UI") :]
    assert transcoded(file_of(body)).reason is Reason.ATTRIBUTES


def test_every_cut_of_a_file_is_kept_and_nothing_raised() -> None:
    dicom = part10(with_furniture(source()))
    for length in range(0, len(dicom), 97):
        outcome = transcoded(dicom[:length])
        assert outcome.reason is not Reason.ERROR, outcome.detail


def test_a_value_that_its_vr_cannot_hold_is_refused() -> None:
    with pytest.raises(KeptError):
        element_bytes(0x00080008, b"CS", b"x" * 0xFFFF)
