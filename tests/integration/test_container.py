"""The steps of docs/container/Dockerfile, in a copy of this machine's Debian, and Orthanc started there.

Each stage is a layer over the machine's own files (overlayfs), as a container's is over its image.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.free_ports import free_port
from harness.orthanc_process import BUNDLE, PYTHON_PLUGIN, OrthancError, OrthancProcess, executable
from harness.senders import http_upload
from release import packing
from tests.support.dockerfile import arguments, filled, instructions

pytestmark = [pytest.mark.orthanc, pytest.mark.slow]

DOCKERFILE = BUNDLE / "docs" / "container" / "Dockerfile"
STORAGE = "/var/lib/orthanc/db"
# Overlay, kernel's folders and the volume, in a mount namespace that goes with the command. Only its /dev/shm is made
# private, so that nothing is seen outside: the root may be a chroot's, which is no mount.
ENTER = f"""
mount --make-private /dev/shm
mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$FOLDER/upper,workdir=$FOLDER/work" "$FOLDER/root"
for each in dev proc sys; do mount --rbind "/$each" "$FOLDER/root/$each"; done
mkdir -p "$FOLDER/root{STORAGE}" && mount --bind "$VOLUME" "$FOLDER/root{STORAGE}"
exec chroot "$FOLDER/root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -c "$1"
"""


class Layer:
    """What a stage changes, in a folder of its own.

    Args:
        folder: made here; not below the files that it lies over.
        below: the layer that it lies over; None is the machine itself.
        volume: what the container has at STORAGE.
    """

    def __init__(self, folder: Path, below: Layer | None, volume: Path) -> None:
        self.upper = folder / "upper"
        for name in ("upper", "work", "root"):
            (folder / name).mkdir(parents=True)
        self.lower: str = f"{below.upper}:{below.lower}" if below else "/"
        self.environment = os.environ | {"FOLDER": str(folder), "LOWER": self.lower, "VOLUME": str(volume)}

    def command(self, text: str) -> list[str]:
        """What runs a shell command with this layer as its root; it needs `environment`."""
        return ["unshare", "--mount", "--propagation=unchanged", "--", "sh", "-e", "-c", ENTER, "sh", text]

    def run(self, text: str) -> str:
        """Runs a shell command; returns what it said."""
        done = subprocess.run(
            self.command(text), env=self.environment, capture_output=True, text=True, check=False, timeout=250
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


class ContainedOrthanc(OrthancProcess):
    """Started as jodogne's image starts it, in the layer of the last stage."""

    image: Layer

    def spawn(self) -> None:
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.image.command(f"exec {executable()} /etc/orthanc/"),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.image.environment,
            )


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory, because the file system of a layer must not be that of the files that it lies over."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount and to chroot")
    with tempfile.TemporaryDirectory(prefix="container-", dir="/dev/shm") as name:
        yield Path(name)


def image_of(folder: Path, configuration: dict[str, object]) -> Layer:
    """This machine's files with /etc/orthanc as an image has it: one file, which knows nothing of the bundle."""
    image = Layer(folder / "image", None, folder / "volume")
    image.run(
        f"rm -rf /etc/orthanc && mkdir /etc/orthanc && echo '{json.dumps(configuration)}' >/etc/orthanc/orthanc.json"
    )
    return image


def built(folder: Path, image: Layer, values: dict[str, str]) -> tuple[Layer, str]:
    """Takes the steps of the Dockerfile in the folder that has dist/; returns the last stage and what RUN said."""
    stages: dict[str, Layer] = {}
    said = ""
    stage = image
    for number, step in enumerate(instructions(DOCKERFILE)):
        if step.name == "FROM":
            stage = Layer(folder / f"stage {number}", image, folder / "volume")
            stages[step.words[-1]] = stage
        elif step.name == "ADD":
            source, place = filled(step.rest, values).split()
            subprocess.run(["tar", "-xzf", folder / source, "-C", f"{stage.upper}{place}"], check=True)
        elif step.name == "RUN":
            said += stage.run(filled(step.rest, values))
        elif step.name == "COPY":
            origin, source, place = step.words
            above = stages[origin.removeprefix("--from=")].upper
            (stage.upper / place[1:]).mkdir(parents=True, exist_ok=True)
            # Hard links: there is little room in memory.
            subprocess.run(["cp", "-alT", f"{above}{source}", f"{stage.upper}{place}"], check=True)
    return stage, said


def test_the_steps_make_an_orthanc_with_the_bundle_whose_deletions_outlive_it(
    folder: Path, small_study: list[Path]
) -> None:
    assert packing.main(["--folder", str(folder / "dist")]) == 0
    (archive,) = (folder / "dist").iterdir()
    (folder / "volume").mkdir()
    configuration: dict[str, object] = {
        "HttpPort": free_port(),
        "DicomPort": free_port(),
        "StorageDirectory": STORAGE,
        "Plugins": [str(PYTHON_PLUGIN.parent)],
        "AuthenticationEnabled": False,
    }
    image = image_of(folder, configuration)
    values = {"BUNDLE": archive.name.removesuffix(".tar.gz"), "PLUGINS": str(PYTHON_PLUGIN.parent)}
    assert set(values) | {"IMAGE"} == set(arguments(instructions(DOCKERFILE)))
    last, said = built(folder, image, values)
    assert "made /etc/orthanc/ingest-bundle.json" in said
    assert "WARNING" not in said

    server = ContainedOrthanc(folder, configuration)
    server.image = last
    with server:
        assert len(server.json("GET", "/bundle/status")["Sections"]) == 5
        first, *others = http_upload(server, small_study[:3])
        server.json("POST", "/deferred-delete/pause")
        server.json("DELETE", f"/instances/{first}")
        assert server.json("GET", "/deferred-delete/status")["pending"] == 2
    with server:
        assert server.json("GET", "/deferred-delete/status")["pending"] == 2
        assert set(server.json("GET", "/instances")) == set(others)
        second = ContainedOrthanc(folder, configuration | {"HttpPort": free_port()})
        second.image = Layer(folder / "second", last, folder / "volume")
        with pytest.raises(OrthancError, match=r"deferred-deletions\.db is in use by process"):
            second.start()
        server.json("POST", "/deferred-delete/resume")
    # On the volume, not in the container.
    assert {"index", "deferred-deletions.db", "deferred-deletions.db.intake"} <= {
        path.name for path in (folder / "volume").iterdir()
    }
    checked = last.run("/usr/share/orthanc/ingest-bundle/bin/ingest-bundle plugin check /etc/orthanc")
    assert checked.splitlines()[-1] == "fine"
