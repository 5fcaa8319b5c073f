"""Runs a real Orthanc server as a child process, with a folder and free ports of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import urllib3

from .free_ports import free_port

BUNDLE = Path(__file__).resolve().parents[1]
PYTHON_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPython.so")
START_DEADLINE_S = 60.0
STOP_DEADLINE_S = 60.0

# A line of the log at level E.
_ERROR_LINE = re.compile(r"^E\d{4} ")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class OrthancError(RuntimeError):
    """Orthanc is not installed, did not start, or gave a wrong answer; the message is one line."""


def executable() -> str:
    """The path of Debian's Orthanc server.

    Raises:
        OrthancError: no such program.
    """
    path = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin:/usr/local/sbin")
    if path is None:
        raise OrthancError("Orthanc is not installed: run 'make setup' (or apt-get install orthanc orthanc-python)")
    if not PYTHON_PLUGIN.exists():
        raise OrthancError(f"{PYTHON_PLUGIN} is missing: run 'make setup' (or apt-get install orthanc-python)")
    return path


def base_configuration(folder: Path, *, bundle: bool) -> dict[str, Any]:
    """The configuration that tests and benchmarks add to: loopback only, free ports, storage below `folder`.

    Args:
        folder: where the index and the attachments go, in `storage/`.
        bundle: load this repository's plugin/main.py; False is native Orthanc with no plugin at all.
    """
    configuration: dict[str, Any] = {
        "Name": "bundle" if bundle else "native",
        "StorageDirectory": str(folder / "storage"),
        "HttpPort": free_port(),
        "DicomPort": free_port(),
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": False,
        "DicomAlwaysAllowStore": True,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "UnknownSopClassAccepted": True,
        "ConcurrentJobs": 2,
    }
    if bundle:
        configuration["Plugins"] = [str(PYTHON_PLUGIN)]
        configuration["PythonScript"] = str(BUNDLE / "plugin" / "main.py")
        # Debian 13's plugin 5.0 knows AllowThreads and it is needed there; 4.0 ignores the section.
        configuration["Python"] = {"AllowThreads": True}
    return configuration


class OrthancProcess:
    """A server that is started, asked, stopped, killed and started again on the same folder.

    Args:
        folder: kept between starts; holds orthanc.json, orthanc.log and the storage.
        configuration: written to `folder`/orthanc.json as it is.
        arguments: further command-line arguments, such as `--verbose`.
        environment: added to this process's environment.
        graceful: leaving a `with` block stops the server as an init system would, which takes Orthanc three to four
            seconds; False kills it instead.
    """

    def __init__(
        self,
        folder: Path,
        configuration: dict[str, Any],
        *,
        arguments: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        graceful: bool = True,
    ) -> None:
        self.graceful = graceful
        self.folder = folder
        self.configuration = configuration
        self.arguments = arguments
        self.environment = environment or {}
        self.log_path = folder / "orthanc.log"
        # What Orthanc is started with. It may be set to a folder with several files, as Debian's service has.
        self.configuration_path = folder / "orthanc.json"
        self.process: subprocess.Popen[bytes] | None = None
        self.http = urllib3.PoolManager(maxsize=64, retries=False, timeout=urllib3.Timeout(connect=5, read=300))

    @property
    def http_port(self) -> int:
        """The TCP port of the REST API."""
        return int(self.configuration["HttpPort"])

    @property
    def dicom_port(self) -> int:
        """The TCP port of the C-STORE SCP."""
        return int(self.configuration["DicomPort"])

    @property
    def storage(self) -> Path:
        """The storage folder, as Orthanc resolves it: relative to the configuration file."""
        return self.folder / str(self.configuration["StorageDirectory"])

    @property
    def url(self) -> str:
        """The base of all URIs, without the last slash."""
        return f"http://127.0.0.1:{self.http_port}"

    def spawn(self) -> None:
        """Starts the program and returns at once.

        Raises:
            OrthancError: not installed, or already running.
        """
        if self.running:
            raise OrthancError("this Orthanc runs already")
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.configuration_path.is_dir():
            self.configuration_path.write_text(json.dumps(self.configuration, indent=2))
        # From BUNDLE, so that a relative "PythonScript" (Orthanc resolves it against the working directory) is found.
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [executable(), *self.arguments, str(self.configuration_path)],
                cwd=BUNDLE,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | self.environment,
            )

    def start(self, deadline_s: float = START_DEADLINE_S) -> Self:
        """Starts the program and returns when its REST API answers.

        Raises:
            OrthancError: it ended or did not answer in time; the message holds the first error line of its log.
        """
        begin = self.log_path.stat().st_size if self.log_path.exists() else 0
        self.spawn()
        assert self.process is not None
        deadline = time.monotonic() + deadline_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise OrthancError(
                    f"Orthanc ended at start with status {self.process.returncode}: {self.first_error(begin)}"
                )
            with contextlib.suppress(urllib3.exceptions.HTTPError):
                answer = self.http.request("GET", f"{self.url}/system", timeout=2, headers=self.authorization())
                if answer.status in {200, 401}:
                    return self
            time.sleep(0.05)
        self.kill()
        raise OrthancError(
            f"Orthanc did not answer on port {self.http_port} within {deadline_s:.0f} s: see {self.log_path}"
        )

    def authorization(self) -> dict[str, str]:
        """The Authorization header of the first registered user, where authentication is on."""
        users = self.configuration.get("RegisteredUsers")
        if not self.configuration.get("AuthenticationEnabled") or not users:
            return {}
        name, password = next(iter(users.items()))
        return dict(urllib3.make_headers(basic_auth=f"{name}:{password}"))

    def first_error(self, begin: int = 0) -> str:
        """The first line of level E that the log got since offset `begin` (bytes), without its prefix."""
        for line in self.log_text(begin).splitlines():
            if _ERROR_LINE.match(line):
                return line.split("] ", 1)[-1]
        return f"no error line; see {self.log_path}"

    def log_text(self, begin: int = 0) -> str:
        """The log since offset `begin` (bytes)."""
        if not self.log_path.exists():
            return ""
        return self.log_path.read_bytes()[begin:].decode(errors="replace")

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def stop(self, deadline_s: float = STOP_DEADLINE_S) -> int:
        """Ends the program as an init system does, with SIGTERM.

        Returns:
            The exit status.

        Raises:
            OrthancError: it did not end in time (it is killed then).
        """
        if self.process is None:
            return 0
        if self.running:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise OrthancError(f"Orthanc did not stop within {deadline_s:.0f} s: see {self.log_path}") from None

    def kill(self) -> None:
        """Kills the process with SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def request(
        self, method: str, path: str, body: bytes | str | None = None, **fields: Any
    ) -> urllib3.BaseHTTPResponse:
        """One HTTP request, whatever its status; `path` begins with a slash."""
        headers = self.authorization() | fields.pop("headers", {})
        return self.http.request(method, self.url + path, body=body, headers=headers, **fields)

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """One request with JSON in and out.

        Raises:
            OrthancError: the status is not 2xx.
        """
        encoded = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        answer = self.request(method, path, encoded)
        if not 200 <= answer.status < 300:
            raise OrthancError(
                f"{method} {path}: HTTP {answer.status}: {answer.data[:500].decode(errors='replace').strip()}"
            )
        return json.loads(answer.data) if answer.data else None

    @property
    def version(self) -> tuple[int, ...]:
        """Orthanc's, such as (1, 13, 0)."""
        return tuple(int(part) for part in self.json("GET", "/system")["Version"].split("."))

    def wait_until_written(self, deadline_s: float = 30.0) -> None:
        """Waits until the bundle has written the header copies that it holds back.

        Raises:
            OrthancError: not within `deadline_s` seconds.
        """
        give_up = time.monotonic() + deadline_s
        while "DeferredDelete" in self.configuration and self.running:
            answer = self.request("GET", "/deferred-delete/status")
            # 404: the section is disabled.
            left = answer.json()["unwritten_header_copies"] if answer.status == 200 else 0
            if not left:
                return
            if time.monotonic() > give_up:
                raise OrthancError(f"{left} header copies are not written after {deadline_s:g} s")
            time.sleep(0.05)

    def attachment_files(self) -> list[Path]:
        """Every file of Orthanc's on-disk layout (aa/bb/uuid) in the storage folder.

        Waits until the bundle has written the header copies that it holds back.
        """
        self.wait_until_written()
        # Not glob: it raises where a folder is removed meanwhile, as the worker does.
        found = (Path(folder, name) for folder, _, names in os.walk(self.storage) for name in names)
        return sorted(path for path in found if _UUID.fullmatch(path.name))

    def resident_bytes(self) -> int:
        """VmRSS of the process."""
        assert self.process is not None
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(match.group(1)) * 1024 if match else 0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if not self.graceful:
            self.kill()
            return
        try:
            self.stop()
        except OrthancError as error:
            print(error, file=sys.stderr)
