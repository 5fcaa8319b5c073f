"""What every test may ask for: a real Orthanc of its own, with a folder and free ports."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest

from harness import jpeg_ls_reader
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration, executable
from harness.phantom import make_study

jpeg_ls_reader.reader()  # pydicom is to read JPEG-LS on every Python

ALL_SECTIONS: dict[str, dict[str, Any]] = {
    "DeferredDelete": {"GracePeriod": 0},
    "IngestTranscoder": {"Default": "JPEGLSLossless"},
    "IngestGuard": {},
    "StageTiming": {},
    "DicomAssociations": {},
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A missing Orthanc skips on a developer's machine and fails in CI, where it would hide everything."""
    if item.get_closest_marker("orthanc") is None:
        return
    try:
        executable()
    except OrthancError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


class ServerFactory(Protocol):
    """Makes a server that is not started yet; it is stopped, or killed, when the test ends."""

    def __call__(
        self,
        sections: dict[str, Any] | None = None,
        *,
        bundle: bool = True,
        folder: Path | None = None,
        arguments: tuple[str, ...] = (),
    ) -> OrthancProcess: ...


@pytest.fixture
def servers_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Where a test's servers keep their files."""
    if request.node.get_closest_marker("in_memory") is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="servers-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture
def make_server(servers_folder: Path) -> Iterator[ServerFactory]:
    """Servers with `sections` added to their configuration; None turns all of the bundle's sections on.

    Leaving a `with` block kills them: a proper stop takes seconds, and the tests of stopping ask for it.
    """
    servers: list[OrthancProcess] = []

    def make(
        sections: dict[str, Any] | None = None,
        *,
        bundle: bool = True,
        folder: Path | None = None,
        arguments: tuple[str, ...] = (),
    ) -> OrthancProcess:
        place = folder or servers_folder / f"server {len(servers)}"  # with a space, as folders of real sites have
        configuration = base_configuration(place, bundle=bundle)
        added = ALL_SECTIONS if sections is None and bundle else sections or {}
        server = OrthancProcess(place, configuration | added, arguments=arguments, graceful=False)
        servers.append(server)
        return server

    yield make
    for server in servers:
        if server.running:
            server.kill()


@pytest.fixture
def server(make_server: ServerFactory) -> Iterator[OrthancProcess]:
    """A started Orthanc with every section of the bundle on and no grace period."""
    with make_server() as started:
        yield started


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A synthetic CT study of 40 slices of 128 x 128, in a folder whose name has a space."""
    return make_study(tmp_path_factory.mktemp("small study"), slices=40, side=128, seed=7)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB of its own; needs the right to mount."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    if os.geteuid() != 0:
        pytest.skip("mounting a file system needs root")
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "bundle-test", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
