"""Makes a study of the real CT volume in Debian's invesalius-examples, for the transcoding benchmark."""

from __future__ import annotations

import plistlib
import tarfile
from pathlib import Path
from typing import IO

import numpy as np
from pydicom.uid import generate_uid

from harness import phantom

CRANIUM = Path("/usr/share/doc/invesalius-examples/examples/Cranium.inv3")
_MATRIX = "matrix.dat"
_COPIES = 3  # 108 slices are sent within a second
_ROOT = phantom.ROOT


def real_ct(folder: Path, archive: Path = CRANIUM) -> list[Path]:
    """Writes a real head CT (108 slices of 256 x 256) three times, as series of one study, and returns the paths.

    The volume is in Hounsfield units, int16, from -1024; slices hold it as CT scanners do, in 12 unsigned bits with an
    intercept.

    Raises:
        OSError: the archive is missing.
        ValueError: it is not an InVesalius project with a volume of 12 bits.
    """
    volume = _volume(archive)
    stored = (volume.astype(np.int32) + 1024).astype(np.uint16)
    if int(np.max(stored)) > 4095:
        raise ValueError(f"{archive}: more than 12 bits")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    count, side, _ = stored.shape
    for copy in range(_COPIES):
        for index in range(count):
            path = folder / f"real-{copy}-{index:05d}.dcm"
            paths.append(path)
            if path.exists():
                continue
            dataset = phantom.make_slice(index, count, side, 1000 + copy)
            dataset.Manufacturer, dataset.StudyDescription = "", "InVesalius example: cranium"
            dataset.StudyInstanceUID = generate_uid(_ROOT, ["cranium"])
            dataset.PatientName, dataset.PatientID = "Cranium", "CRANIUM"
            dataset.PixelData = stored[index].astype("<u2").tobytes()
            dataset.save_as(path, enforce_file_format=True)
    return paths


def _volume(archive: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
    """The matrix of an InVesalius project, with the shape that main.plist names."""
    with tarfile.open(archive) as members:
        names = {Path(member.name).name: member for member in members.getmembers() if member.isfile()}
        if not {"main.plist", _MATRIX} <= names.keys():
            raise ValueError(f"{archive}: no InVesalius project")

        def content(name: str) -> IO[bytes]:
            opened = members.extractfile(names[name])
            assert opened is not None
            return opened

        matrix = plistlib.loads(content("main.plist").read())["matrix"]
        if matrix["dtype"] != "int16":
            raise ValueError(f"{archive}: a matrix of {matrix['dtype']}")
        return np.frombuffer(content(_MATRIX).read(), "<i2").reshape(matrix["shape"])
