"""Orthanc's own preview shows a transcoded picture in the colours of the original, or not at all."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from harness.orthanc_process import OrthancProcess, base_configuration
from tests.conftest import ServerFactory
from tests.support.independent import converted, read
from tests.support.samples import SYNTAX, TARGETS
from tests.unit.transcoder.test_colour import COLOURS, KEPT, native, shown_by_pydicom

pytestmark = pytest.mark.orthanc

# Orthanc's own decoder is DCMTK's, which knows no JPEG 2000: without its GDCM plugin there is no preview of these.
WITHOUT_PREVIEW = {"JPEG2000Lossless", "HTJ2KLossless", "HTJ2KLosslessRPCL"}
OVERWRITE = {"OverwriteInstances": True}


@pytest.fixture(scope="module")
def native_previews(tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[np.generic] | None]:
    """What native Orthanc shows of each native picture."""
    folder = tmp_path_factory.mktemp("native server")
    server = OrthancProcess(folder, base_configuration(folder, bundle=False) | OVERWRITE, graceful=False)
    with server:
        return {name: preview(server, native(name)) for name in COLOURS}


def preview(server: OrthancProcess, content: bytes) -> NDArray[np.generic] | None:
    """The picture that Orthanc shows of a file once it is stored; None where it says that it cannot."""
    orthanc_id = server.json("POST", "/instances", content)["ID"]
    answer = server.request("GET", f"/instances/{orthanc_id}/preview")
    if answer.status == 415:
        return None
    assert answer.status == 200
    return np.asarray(Image.open(io.BytesIO(answer.data)))


def stored_syntax(server: OrthancProcess, content: bytes) -> str:
    orthanc_id = server.json("POST", "/instances", content)["ID"]
    syntax: str = read(server.request("GET", f"/instances/{orthanc_id}/file").data).file_meta.TransferSyntaxUID
    return syntax


@pytest.mark.parametrize("target", TARGETS)
def test_the_preview_has_the_colours_of_the_original(
    make_server: ServerFactory, native_previews: dict[str, NDArray[np.generic] | None], target: str
) -> None:
    compared = 0
    with make_server({"IngestTranscoder": {"Default": target}} | OVERWRITE) as bundle:
        for name in COLOURS:
            kept = (name, target) in KEPT
            assert (stored_syntax(bundle, native(name)) == SYNTAX[target]) is not kept, name
            before, after = native_previews[name], preview(bundle, native(name))
            if target in WITHOUT_PREVIEW:
                assert after is None, name
            elif before is not None:
                assert np.array_equal(before, after), name  # type: ignore[arg-type]
                compared += 1
            elif after is not None:
                # Orthanc shows more of what is compressed than of what is native: YBR_FULL, for one.
                assert np.abs(in_8_bits(name).astype(int) - after).max() <= 2, name
                compared += 1
    assert compared >= (0 if target in WITHOUT_PREVIEW else 4)


def in_8_bits(name: str) -> NDArray[np.generic]:
    """The picture's colours by pydicom."""
    colour = COLOURS[name]
    if colour.photometric == "YBR_FULL" and colour.allocated > 8:
        return shown_by_pydicom(native("YBR_FULL"))
    shown: NDArray[np.generic] = shown_by_pydicom(native(name)) >> (colour.stored - 8)
    return shown


@pytest.mark.parametrize("program", ["dcmcjpls", "dcmcrle"])
def test_orthanc_takes_ybr_full_in_jpeg_ls_and_rle_for_rgb(make_server: ServerFactory, program: str) -> None:
    """Why these are kept: it is so with what DCMTK itself encoded.

    Once Orthanc converts them, they need not be kept any more.
    """
    right = shown_by_pydicom(native("YBR_FULL"))
    with make_server(OVERWRITE, bundle=False) as server:
        shown = preview(server, converted(native("YBR_FULL"), [program]))
    assert shown is not None
    assert np.abs(right.astype(int) - shown).max() > 200
