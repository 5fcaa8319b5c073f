"""Ways of sending a study: DCMTK's tools, pynetdicom and HTTP, each as its authors ship it."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import urllib3

from harness import senders
from harness.orthanc_process import OrthancError, OrthancProcess

from .processes import run_all, wait_for


@dataclass
class Way:
    """One way of sending; `prepare` and `close` are not measured, `send` is.

    Attributes:
        parallel: associations or clients at once; each sends a part of the study.
        environment: for the senders' processes.
    """

    parallel: int = 1
    environment: dict[str, str] = field(default_factory=dict)

    def configuration(self) -> dict[str, object]:
        """What the measured server's configuration needs for it."""
        return {}

    def prepare(self, server: OrthancProcess, study: list[Path]) -> None:
        """Does what comes before sending."""

    def send(self, server: OrthancProcess, study: list[Path]) -> None:
        """Sends all of `study`.

        Raises:
            OrthancError: a sender failed.
        """
        raise NotImplementedError

    def arrived(self, server: OrthancProcess) -> int:
        """How many instances have arrived."""
        return int(server.json("GET", "/statistics")["CountInstances"])

    def close(self) -> None:
        """Ends what `prepare` began."""

    def parts(self, study: list[Path]) -> list[list[Path]]:
        """The study in `parallel` parts."""
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
        """Makes all of them send."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(b"go\n")
            process.stdin.close()
        wait_for(self.processes, "pynetdicom")

    def close(self) -> None:
        """Kills the processes that are left."""
        for process in self.processes:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


class HttpKeepAlive(Way):
    """POST /instances over keep-alive connections."""

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
