"""The ways in which a study is sent, each as its authors ship it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess, base_configuration, free_port

DEADLINE_S = 900.0


@dataclass
class Way:
    """One way of sending; `prepare` and `close` are not measured, `send` is.

    Attributes:
        parallel: associations or clients at once; the study is dealt out among them.
        environment: for the senders' processes.
    """

    parallel: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    def configuration(self) -> dict[str, object]:
        """What the measured server needs to know beforehand."""
        return {}

    def prepare(self, server: OrthancProcess, study: list[Path]) -> None:
        """Everything that comes before the first byte."""

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """Sends all of `study`.

        Raises:
            OrthancError: a sender failed.
        """
        raise NotImplementedError

    def arrived(self, server: OrthancProcess) -> int:
        """How many instances are where they were to go."""
        return int(server.json("GET", "/statistics")["CountInstances"])

    def close(self) -> None:
        """Ends what `prepare` began."""

    def parts(self, study: list[Path]) -> list[list[Path]]:
        """The study, dealt out."""
        return [study[first :: self.parallel] for first in range(self.parallel)]


class Storescu(Way):
    """DCMTK's storescu."""

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """One process for each part."""
        with ThreadPoolExecutor(self.parallel) as pool:
            list(pool.map(lambda part: senders.storescu(server, part, environment=self.environment), self.parts(study)))


class Dcmsend(Way):
    """DCMTK's dcmsend."""

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """One process for each part."""
        command = [senders.tool("dcmsend"), "-aec", "ORTHANC", "127.0.0.1", str(server.dicom_port)]
        run_all([[*command, *map(str, part)] for part in self.parts(study)])


class Pynetdicom(Way):
    """A pynetdicom SCU; its files are read beforehand."""

    def prepare(self, server: OrthancProcess, study: list[Path]) -> None:
        """Starts the processes and waits until all have read their files."""
        command = [sys.executable, "-m", "bench.pynetdicom_sender", "127.0.0.1", str(server.dicom_port)]
        self.processes = [
            subprocess.Popen([*command, *map(str, part)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            for part in self.parts(study)
        ]
        for process in self.processes:
            assert process.stdout is not None
            process.stdout.readline()

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """Lets all of them go."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()
        wait_for(self.processes, "pynetdicom")

    def close(self) -> None:
        """Kills what is left."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


class HttpKeepAlive(Way):
    """POST /instances over connections that are kept."""

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """One thread for each client."""
        senders.http_upload(server, study, clients=self.parallel)


class HttpReconnecting(Way):
    """POST /instances with a new connection for each instance."""

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """One thread for each client."""

        def upload(path: Path) -> None:
            with urllib3.PoolManager(retries=False) as pool:
                answer = pool.request(
                    "POST", f"{server.url}/instances", body=path.read_bytes(), headers={"Connection": "close"}
                )
                if answer.status != 200:
                    raise OrthancError(f"POST /instances: HTTP {answer.status}")

        with ThreadPoolExecutor(self.parallel) as pool:
            list(pool.map(upload, study))


class FromOrthanc(Way):
    """Another, native Orthanc holds the study and sends it."""

    def source_configuration(self, target: OrthancProcess) -> dict[str, object]:
        """What the source knows of the measured server."""
        raise NotImplementedError

    def prepare(self, server: OrthancProcess, study: list[Path]) -> None:
        """Starts the source and fills it."""
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
        """Fills the server."""
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
    """The same with storescp."""

    same_process = False


def move_command(
    server: OrthancProcess, called: str, destination: str, study_instance_uid: str, arguments: tuple[str, ...]
) -> list[str]:
    """Movescu at study level."""
    keys = ["-k", "0008,0052=STUDY", "-k", f"0020,000d={study_instance_uid}"]
    names = ["-aet", "SCP", "-aec", called, "-aem", destination]
    return [senders.tool("movescu"), "-S", *names, *keys, *arguments, "127.0.0.1", str(server.dicom_port)]


def run_all(commands: list[list[str]], environment: dict[str, str] | None = None) -> None:
    """Runs all at once.

    Raises:
        OrthancError: one ended with another status than 0, or took too long.
    """
    processes = [
        subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | (environment or {})
        )
        for command in commands
    ]
    wait_for(processes, Path(commands[0][0]).name)


def wait_for(processes: list[subprocess.Popen[bytes]], name: str) -> None:
    """Waits for all.

    Raises:
        OrthancError: one ended with another status than 0, or took too long.
    """
    deadline = time.monotonic() + DEADLINE_S
    try:
        for process in processes:
            if process.wait(max(0.1, deadline - time.monotonic())) != 0:
                raise OrthancError(f"{name} ended with status {process.returncode}")
    except subprocess.TimeoutExpired:
        raise OrthancError(f"{name} took longer than {DEADLINE_S:.0f} s") from None
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
