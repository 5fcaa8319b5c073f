"""The steps of the demonstration: each shows one use of the bundle, and fails if it did not work."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from pydicom import dcmread
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from timing.table import stage_tables

from . import jpeg_ls_reader, phantom, senders, wheel_files
from .orthanc_process import BUNDLE, OrthancError, OrthancProcess

CSTORE_SEED, HTTP_SEED = 1, 2
HTTP_SLICES = 100
GRACE_PERIOD_S = 3
DRAIN_DEADLINE_S = 300
CHECKED_SLICES = 10
PHANTOM_FOLDER = BUNDLE / "var" / "phantom"

console = Console(highlight=False)


class StepFailedError(Exception):
    """A step did not do what it says; the message is one line."""


@contextlib.contextmanager
def bar(label: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar; yields a function that sets how much is done."""
    columns = (TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total)
        yield lambda completed: progress.update(task, completed=completed)


def say(text: str) -> None:
    """Prints one line."""
    console.print(text, soft_wrap=True)


def make_phantoms() -> tuple[list[Path], list[Path]]:
    """Makes the two synthetic studies, or uses those of an earlier run."""
    with bar("CT phantom (synthetic)", phantom.SLICES + HTTP_SLICES) as done:
        first = phantom.make_study(PHANTOM_FOLDER, seed=CSTORE_SEED, progress=done)
        second = phantom.make_study(
            PHANTOM_FOLDER, seed=HTTP_SEED, slices=HTTP_SLICES, progress=lambda n: done(len(first) + n)
        )
    return first, second


def remove_earlier_run(server: OrthancProcess) -> None:
    """Deletes what an interrupted demonstration left, since Orthanc would not store the same instances again."""
    for seed in (CSTORE_SEED, HTTP_SEED):
        query = {"Level": "Patient", "Query": {"PatientID": f"PHANTOM-{seed}"}}
        for patient in server.json("POST", "/tools/find", query):
            server.json("DELETE", f"/patients/{patient}")
            say("  a phantom of an earlier run was there: deleted")


def store_over_cstore(server: OrthancProcess, paths: list[Path]) -> None:
    """Sends the study by one unmodified storescu association."""
    say(
        f"\n[bold]1. C-STORE[/]: storescu sends the phantom, {len(paths)} slices of 512 x 512, 196 MB, on one "
        "association"
    )
    before = instance_count(server)
    ended = threading.Event()
    began = time.monotonic()
    with bar("storescu", len(paths)) as done:

        def watch() -> None:
            while not ended.wait(0.2):
                with contextlib.suppress(OrthancError):
                    done(instance_count(server) - before)

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            senders.storescu(server, paths, calling="DEMO")
        finally:
            ended.set()
            watcher.join()
        done(instance_count(server) - before)
    report_rate(len(paths), paths, time.monotonic() - began)
    stored = instance_count(server) - before
    if stored != len(paths):
        raise StepFailedError(f"C-STORE: Orthanc holds {stored} of {len(paths)} instances sent")


def store_over_http(server: OrthancProcess, slices: list[Path], files: list[Path]) -> None:
    """Uploads a second phantom and the real files of pydicom's wheel."""
    syntaxes = {wheel_files.transfer_syntax(path) for path in files}
    say(
        f"\n[bold]2. HTTP[/]: {len(slices)} more phantom slices, and {len(files)} real files from pydicom in "
        f"{len(syntaxes)} transfer syntaxes"
    )
    began = time.monotonic()
    count = 0
    with bar("POST /instances", len(slices) + len(files)) as done:

        def progress() -> None:
            nonlocal count
            count += 1
            done(count)

        senders.http_upload(server, slices, progress=progress)
        refused = upload_real_files(server, files, progress)
    stored = len(slices) + len(files) - len(refused)
    report_rate(stored, slices + files, time.monotonic() - began)
    if refused:
        say(f"  Orthanc refused {len(refused)} of pydicom's files, which are broken on purpose: {', '.join(refused)}")


def upload_real_files(server: OrthancProcess, files: list[Path], progress: Callable[[], None]) -> list[str]:
    """POST /instances for files some of which no server takes; returns the names of those.

    Raises:
        StepFailedError: an answer that is neither "stored" nor "this is no DICOM file".
    """
    refused = []
    for path in files:
        status = server.request("POST", "/instances", path.read_bytes()).status
        if status == 400:
            refused.append(path.name)
        elif status != 200:
            raise StepFailedError(f"HTTP: {path.name} was answered with status {status}, expected 200 or 400")
        progress()
    return refused


def report_rate(instances: int, paths: list[Path], seconds: float) -> None:
    """Prints instances and megabytes a second."""
    size = sum(path.stat().st_size for path in paths)
    say(
        f"  {instances} instances in {seconds:.1f} s: {instances / seconds:.0f} instances/s, "
        f"{size / seconds / 1e6:.0f} MB/s"
    )


def instance_count(server: OrthancProcess) -> int:
    """How many instances Orthanc holds."""
    return int(server.json("GET", "/statistics")["CountInstances"])


def check_transcoding(server: OrthancProcess, slices: list[Path]) -> None:
    """Reads some slices back, decodes them with pydicom and compares every pixel with what was sent."""
    say("\n[bold]3. Transcoding[/]: is each pixel what was sent?")
    jpeg_ls_reader.reader()
    for path in slices[:: max(1, len(slices) // CHECKED_SLICES)]:
        sent = dcmread(path)
        (found,) = server.json("POST", "/tools/lookup", str(sent.SOPInstanceUID).encode())
        answer = server.request("GET", f"/instances/{found['ID']}/file")
        copy = PHANTOM_FOLDER / "read-back.dcm"
        copy.write_bytes(answer.data)
        stored = dcmread(copy)
        if not stored.file_meta.TransferSyntaxUID.is_compressed:
            raise StepFailedError(f"transcoding: {path.name} was stored as {stored.file_meta.TransferSyntaxUID.name}")
        if not np.array_equal(sent.pixel_array, stored.pixel_array):
            raise StepFailedError(f"transcoding: the pixels of {path.name} are not those that were sent")
    statistics = server.json("GET", "/statistics")
    say(
        f"  {CHECKED_SLICES} slices read back and decoded by pydicom: bit for bit what was sent, now "
        f"{stored.file_meta.TransferSyntaxUID.name}"
    )
    say(f"  on disk: {int(statistics['TotalDiskSize']) / 1e6:.0f} MB")


def show_stages(server: OrthancProcess) -> None:
    """Prints the table of stages."""
    say("\n[bold]4. Timing[/]: where each millisecond went")
    snapshot = server.json("GET", "/timing/stages")
    console.print(stage_tables(snapshot))


def delete_and_drain(server: OrthancProcess, study_slice: Path, slices: int) -> None:
    """Deletes the study: DELETE returns at once, then the ledger drains until no file of the study is left."""
    say(f"\n[bold]5. Deletion[/]: DELETE of the study of {slices} instances")
    study_uid = str(dcmread(study_slice, stop_before_pixels=True).StudyInstanceUID)
    (found,) = server.json("POST", "/tools/lookup", study_uid.encode())
    # Counted before the DELETE, and when nothing waits: on a slow machine the grace period is over before it returns.
    drain(server)
    files, unlinked = len(server.attachment_files()), files_unlinked(server)
    began = time.monotonic()
    server.json("DELETE", f"/studies/{found['ID']}")
    elapsed_ms = (time.monotonic() - began) * 1000
    pending = pending_deletions(server)
    say(
        f"  returned after {elapsed_ms:.0f} ms with {pending} files pending; they go after the grace period of "
        f"{GRACE_PERIOD_S} s (60 s by default)"
    )
    drain(server)
    gone = files - len(server.attachment_files())
    say(f"  {gone} files are gone")
    told = files_unlinked(server) - unlinked
    if gone != told or gone < slices:
        raise StepFailedError(f"deletion: {gone} files are gone, expected {told}, and at least {slices}")


def drain(server: OrthancProcess) -> None:
    """Waits until no file waits for its deletion.

    Raises:
        StepFailedError: some still do.
    """
    pending = pending_deletions(server)
    deadline = time.monotonic() + DRAIN_DEADLINE_S
    with bar("ledger drains", pending) as done:
        while left := pending_deletions(server):
            done(max(0, pending - left))
            if time.monotonic() > deadline:
                raise StepFailedError(
                    f"deletion: {left} files still pending after {DRAIN_DEADLINE_S} s: see GET /deferred-delete/status"
                )
            time.sleep(0.1)
        done(pending)


def pending_deletions(server: OrthancProcess) -> int:
    """Files that wait for their deletion, failed ones among them."""
    return int(server.json("GET", "/plugins/delayed-deletion/status")["FilesPendingDeletion"])


def files_unlinked(server: OrthancProcess) -> int:
    """Files that were unlinked since the server started."""
    return int(server.json("GET", "/deferred-delete/status")["deleted_since_start"])


def job(server: OrthancProcess) -> None:
    """Runs all steps.

    Raises:
        StepFailedError: one did not do what it says.
    """
    first, second = make_phantoms()
    remove_earlier_run(server)
    server.json("POST", "/timing/reset", {})
    store_over_cstore(server, first)
    store_over_http(server, second, wheel_files.image_files())
    check_transcoding(server, first)
    show_stages(server)
    delete_and_drain(server, first[0], len(first))
