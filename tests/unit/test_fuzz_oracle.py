"""The fuzzers' oracle finds each kind of failure that it checks for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.orthanc_process import BUNDLE
from tests.support.fuzz_oracle import Oracle, assert_same_raw_elements, depth_by_dcmtk
from tests.support.independent import read
from tests.support.nested_files import NESTS, nested_file
from tests.support.samples import data_set, image, part10, wheel, with_furniture
from transcoder import Settings, Transcoder


@pytest.mark.parametrize("name", NESTS)
def test_dcmdump_tells_the_depth_that_a_nest_was_made_with(name: str) -> None:
    assert [depth_by_dcmtk(nested_file(name, depth)) for depth in (1, 32, 33)] == [1, 32, 33]


def test_a_guard_that_lets_pass_what_is_too_deep_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    oracle = Oracle()
    monkeypatch.setattr(oracle.guard, "refusal", lambda dicom, origin: "")
    with pytest.raises(AssertionError, match="33 sequences deep"):
        oracle.feed("nest", nested_file("deflated", 33), 0)


@pytest.mark.parametrize("target", range(6))
def test_a_changed_pixel_is_found_out(target: int) -> None:
    pixels = image(32, 32)
    sent = part10(with_furniture(data_set(pixels)))
    pixels[3, 3] += 1
    oracle = Oracle()
    changed = Transcoder(Settings(default=oracle.targets[target])).transcode(
        part10(with_furniture(data_set(pixels))), ""
    )
    assert changed.dicom is not None
    with pytest.raises(AssertionError, match="other pixels"):
        oracle._check_new_file("changed", sent, changed.dicom, oracle.targets[target])


def test_a_changed_element_is_found_out() -> None:
    sent = read(wheel("CT_small.dcm"))
    stored = read(wheel("CT_small.dcm").replace(b"CompressedSamples^CT1", b"CompressedSamples^CT2"))
    with pytest.raises(AssertionError, match=r"0010,0010"):
        assert_same_raw_elements("changed", sent, stored)


LARGE = """
import numpy as np
from tests.support.fuzz_oracle import Oracle, give_memory_back
from tests.support.samples import data_set, part10
give_memory_back()
oracle = Oracle()
oracle.feed("large", part10(data_set(np.zeros((4096, 4096), "u2"))), 3)
assert oracle.ends == {"transcoded": 1, "transcoded with loss": 1}, oracle.ends
assert oracle.peak_bytes > 1 << 20, oracle.peak_bytes
assert oracle.slowest_s > 0
"""


def test_whatever_memory_and_time_a_file_takes_is_counted() -> None:
    """In a process of its own: this one may have freed memory in hand, so that its peak need not grow."""
    done = subprocess.run([sys.executable, "-c", LARGE], cwd=BUNDLE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
