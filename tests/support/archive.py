"""A fake Orthanc with our real ledger, worker, restorer and deleter around it, stepped by hand."""

import io
import json
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from deferred_delete import FileStorage, Intake, Ledger, Settings, StudyService, Worker
from deferred_delete.studies.dicom_header import read_header
from tests.support.ledgers import enqueue


class Answer(NamedTuple):
    status: int
    body: bytes = b""


class Clock:
    set_back_by_ms = 0
    time_ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.time_ms


class StepByHand:
    """Takes the place of the thread: the tasks run when a test says so."""

    def __init__(self) -> None:
        self.tasks: tuple[Callable[[], float | None], ...] = ()

    def start(self, tasks: tuple[Callable[[], float | None], ...]) -> None:
        self.tasks = tasks

    def stopped(self) -> bool:
        return False

    def wait(self, _seconds: float) -> None:
        return None

    def wake(self) -> None:
        return None


def dicom(study: int, number: int) -> bytes:
    """A small DICOM file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.{study}.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.{study}.{number}"
    dataset.StudyInstanceUID, dataset.PatientID, dataset.Modality = f"1.{study}", "p", "CT"
    written = io.BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def orthanc_id(study: int) -> str:
    return "-".join([f"{study:08x}"] * 5)


class Archive:
    """Answers as Orthanc does, by its `mood`.

    healthy; full: stores nothing and says 507; ill: answers everything with 500; refusing: answers POST with 400; away:
    cannot be asked. Single instances can be `ill_ones`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.storage = FileStorage(folder / "storage", sync=False)
        self.clock = Clock()
        self.mood = "healthy"
        self.ill_ones: set[str] = set()
        self.instances: dict[str, str] = {}  # SOP Instance UID -> attachment UUID
        self._attachments = 0
        self.before_answer: Callable[[str, str], object] = lambda _method, _path: None
        self.open()

    def open(self) -> None:
        """A process starts, on the same disk."""
        self.ledger = Ledger(self.folder / "ledger.db")
        self.ledger.clock = self.ledger.studies._clock = self.ledger.restores._clock = self.clock  # type: ignore[assignment]
        self.intake = Intake(self.ledger)
        self.worker = Worker(self.intake, self.storage, Settings(grace_period=0))
        parts = SimpleNamespace(
            ledger=self.ledger,
            intake=self.intake,
            storage=self.storage,
            worker=self.worker,
            headers_left_out=False,
        )
        self.service = StudyService(parts, self, lambda _original, _stored: False)  # type: ignore[arg-type]
        self.service._background = self.thread = StepByHand()  # type: ignore[assignment]
        self.service.start()

    def close(self) -> None:
        self.ledger.close()

    def copied_to(self, folder: Path) -> "Archive":
        """The same archive a second time, as another process would find it; this one is closed."""
        self.close()
        shutil.copytree(self.folder, folder)
        copy = Archive(folder)
        copy.instances, copy._attachments, copy.clock.time_ms = (
            dict(self.instances),
            self._attachments,
            self.clock.time_ms,
        )
        copy.mood, copy.ill_ones = self.mood, set(self.ill_ones)
        return copy

    def store(self, content: bytes) -> bool:
        """What POST /instances does; False if the instance is there already."""
        sop = read_header(content).sop_instance_uid
        if sop in self.instances:
            return False
        self._attachments += 1
        self.instances[sop] = str(uuid.UUID(int=self._attachments * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))
        self.storage.create(self.instances[sop], content)
        return True

    def delete(self, sop: str, grace_ms: int = 3_600_000) -> None:
        """What Orthanc's DELETE of an instance comes to."""
        enqueue(self.ledger, self.instances.pop(sop), 1, grace_ms)

    def of(self, study: int) -> list[str]:
        return sorted(sop for sop in self.instances if sop.startswith(f"1.{study}."))

    def step(self) -> list[float | None]:
        """Runs each task once; time then passes as the thread would sleep."""
        sleeps = [task() for task in self.thread.tasks]
        self.clock.time_ms += round(1000 * min((each for each in sleeps if each is not None), default=0)) + 1
        return sleeps

    def run(self, steps: int, until: Callable[[], bool] = lambda: False) -> bool:
        """Steps until something is so, at most so many; whether it is."""
        return any(until() or not self.step() for _ in range(steps)) or until()

    def __call__(self, method: str, path: str, body: bytes) -> Answer:
        self.before_answer(method, path)
        if self.mood == "away":
            raise OSError("connection refused")
        if self.mood == "ill":
            return Answer(500, b'{"Message": "database is locked"}')
        parts = path.partition("?")[0].strip("/").split("/")
        if method == "POST":
            return self._post(body)
        if method == "DELETE":
            return self._delete(parts[1])
        if parts[0] == "instances":
            return (
                Answer(200, self.storage.read(self.instances[parts[1]])) if parts[1] in self.instances else Answer(404)
            )
        if parts[0] == "studies":
            found = self.of(int(parts[1][:8], 16))
            return Answer(200, json.dumps(found).encode()) if found else Answer(404)
        return Answer(404)

    def _post(self, content: bytes) -> Answer:
        sop = read_header(content).sop_instance_uid
        if self.mood == "full" or sop in self.ill_ones:
            return Answer(507, b'{"Message": "The file storage is full"}')
        if self.mood == "refusing":
            return Answer(400, b'{"Message": "Bad file format"}')
        status = "Success" if self.store(content) else "AlreadyStored"
        return Answer(200, json.dumps({"ID": sop, "Status": status}).encode())

    def _delete(self, sop: str) -> Answer:
        if sop in self.ill_ones:
            return Answer(500, b'{"Message": "index is busy"}')
        if sop not in self.instances:
            return Answer(404)
        self.delete(sop)
        return Answer(200)
