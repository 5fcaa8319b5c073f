"""Ways of sending a study from one Orthanc: to a peer over HTTP, and by C-MOVE to another Orthanc or a storage SCP."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from harness import senders
from harness.free_ports import free_port
from harness.orthanc_process import OrthancProcess, base_configuration

from .processes import run_all
from .sending import Way


class FromOrthanc(Way):
    """A native Orthanc that holds the study and sends it to the measured server."""

    def source_configuration(self, target: OrthancProcess) -> dict[str, object]:
        """What the source's configuration has about the measured server."""
        raise NotImplementedError

    def prepare(self, server: OrthancProcess, study: list[Path]) -> None:
        """Starts the source and stores the study in it."""
        self.place = Path(tempfile.mkdtemp(dir=server.folder.parent))
        configuration = base_configuration(self.place, bundle=False) | {"DicomAet": "SOURCE"}
        self.source = OrthancProcess(
            self.place, configuration | self.source_configuration(server), environment=self.environment, graceful=False
        )
        self.source.start()
        senders.http_upload(self.source, study, clients=4)
        (self.study_id,) = self.source.json("GET", "/studies")

    def close(self) -> None:
        """Ends the source."""
        self.source.kill()
        shutil.rmtree(self.place, ignore_errors=True)


class Peer(FromOrthanc):
    """Orthanc to Orthanc over HTTP: POST /peers/target/store."""

    def source_configuration(self, target: OrthancProcess) -> dict[str, object]:
        """The peer."""
        return {"OrthancPeers": {"target": [f"{target.url}/"]}}

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """One request for the study."""
        self.source.json("POST", "/peers/target/store", {"Resources": [self.study_id], "Synchronous": True})


class Move(FromOrthanc):
    """Orthanc to Orthanc over DICOM: a C-MOVE SCU asks the source to move the study to the measured server."""

    def source_configuration(self, target: OrthancProcess) -> dict[str, object]:
        """The modality that the study goes to; the SCU needs no entry."""
        modalities = {"target": ["ORTHANC", "127.0.0.1", target.dicom_port]}
        return {"DicomModalities": modalities, "DicomAlwaysAllowMove": True}

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """DCMTK's movescu, study level."""
        tags = self.source.json("GET", f"/studies/{self.study_id}")["MainDicomTags"]
        run_all([move_command(self.source, "SOURCE", "ORTHANC", tags["StudyInstanceUID"], ())])


@dataclass  # for __post_init__, which Way's own __init__ does not call
class MoveTo(Way):
    """From the measured server to a storage SCP: the case of the 2016 report.

    Attributes:
        same_process: movescu receives by itself; otherwise DCMTK's storescp does, in a process of its own.
    """

    same_process = True

    def __post_init__(self) -> None:
        self.port = free_port()

    def configuration(self) -> dict[str, object]:
        """The storage SCP as a modality of the measured server."""
        return {"DicomModalities": {"scp": ["SCP", "127.0.0.1", self.port]}, "DicomAlwaysAllowMove": True}

    def prepare(self, server: OrthancProcess, study: list[Path]) -> None:
        """Stores the study in the server."""
        self.place = Path(tempfile.mkdtemp(dir=server.folder.parent))
        self.scp: subprocess.Popen[bytes] | None = None
        senders.http_upload(server, study, clients=4)
        (study_id,) = server.json("GET", "/studies")
        self.study_instance_uid = server.json("GET", f"/studies/{study_id}")["MainDicomTags"]["StudyInstanceUID"]
        if not self.same_process:
            self.scp = subprocess.Popen(
                [senders.tool("storescp"), "-aet", "SCP", "-od", str(self.place), str(self.port)],
                env=os.environ | self.environment,
            )
            time.sleep(0.5)

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """Moves the study."""
        own = ("+P", str(self.port), "-od", str(self.place)) if self.same_process else ()
        run_all([move_command(server, "ORTHANC", "SCP", self.study_instance_uid, own)], self.environment)

    def arrived(self, server: OrthancProcess) -> int:
        """Files that the storage SCP wrote."""
        return sum(1 for _ in self.place.iterdir())

    def close(self) -> None:
        """Ends the storage SCP."""
        if self.scp is not None:
            self.scp.kill()
            self.scp.wait()
        shutil.rmtree(self.place, ignore_errors=True)


class MoveToAnother(MoveTo):
    """As `MoveTo`, with storescp as the receiver."""

    same_process = False


def move_command(
    server: OrthancProcess, called: str, destination: str, study_instance_uid: str, arguments: tuple[str, ...]
) -> list[str]:
    """The command of DCMTK's movescu at study level."""
    keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={study_instance_uid}"]
    names = ["-aet", "SCP", "-aec", called, "-aem", destination]
    return [senders.tool("movescu"), "-S", *names, *keys, *arguments, "127.0.0.1", str(server.dicom_port)]
