"""`make bench-transcoding` itself, as small as it gets."""

from __future__ import annotations

import io
import json
import plistlib
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from bench.volumes import real_ct
from harness.orthanc_process import BUNDLE


@pytest.mark.orthanc
def test_a_tiny_run_writes_a_table_and_the_samples(tmp_path: Path) -> None:
    small = ["--slices", "3", "--side", "64", "--studies", "phantom", "--targets", ".70", "--clients", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "bench.transcoding", *small, "--alone", "--no-gdcm", "--folder", str(tmp_path)],
        cwd=BUNDLE,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    samples = json.loads((tmp_path / "transcoding.json").read_text())
    assert {(one["variant"], one["sender"]) for one in samples} >= {
        (variant, sender) for variant in ("native .70, DCMTK", ".70", ".70 alone") for sender in ("HTTP", "storescu")
    }
    table = (tmp_path / "transcoding.md").read_text()
    assert "| native .70, DCMTK |" in table
    assert "(1.00)" in table


def project(path: Path, volume: np.ndarray) -> Path:  # type: ignore[type-arg]
    """An InVesalius project file with this volume."""
    plist = {"matrix": {"filename": "matrix.dat", "dtype": "int16", "shape": list(volume.shape)}}
    with tarfile.open(path, "w:gz") as members:
        for name, content in {
            "main.plist": plistlib.dumps(plist),
            "matrix.dat": volume.astype("<i2").tobytes(),
        }.items():
            member = tarfile.TarInfo(f"tmp/{name}")
            member.size = len(content)
            members.addfile(member, io.BytesIO(content))
    return path


def test_a_volume_becomes_slices_as_scanners_store_them(tmp_path: Path) -> None:
    volume = np.arange(-1024, -1024 + 3 * 8 * 8).reshape(3, 8, 8)
    paths = real_ct(tmp_path / "slices", project(tmp_path / "a.inv3", volume))
    assert len(paths) == 9
    data_set = dcmread(paths[1])
    assert (data_set.pixel_array.astype(int) + int(data_set.RescaleIntercept) == volume[1]).all()
    assert len({dcmread(path).SOPInstanceUID for path in paths}) == 9
    assert len({dcmread(path).StudyInstanceUID for path in paths}) == 1


def test_a_volume_of_more_than_12_bits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 12 bits"):
        real_ct(tmp_path / "slices", project(tmp_path / "a.inv3", np.full((1, 4, 4), 5000)))
