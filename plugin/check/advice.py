"""Warnings about settings that are allowed but probably not meant: one function for each, one line a warning."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from deferred_delete.ledger.schema import APPLICATION_ID, SCHEMA_VERSION

from ..config import Configuration
from ..conflicts import storage_conflict
from ..loopback import lost_without_certificate
from .filesystems import is_remote, kind_of

PYTHON_PLUGIN = "libOrthancPython.so"
# With a longer grace period, recycled patients take up much of a disk that MaximumStorageSize should keep free.
LONG_GRACE_S = 3600
_EMBEDDED = re.compile(rb"libpython(3\.\d+)")
Advice = Iterator[str]


def plugins(configuration: Configuration) -> dict[str, Path]:
    """The libraries that "Plugins" names, by file name without version.

    A folder stands for the libraries in it, as for Orthanc.
    """
    named = configuration.document.get("Plugins", [])
    found: dict[str, Path] = {}
    for entry in named if isinstance(named, list) else []:
        path = Path(str(entry))
        for library in sorted(path.glob("*.so*")) if path.is_dir() else [path]:
            found.setdefault(library.name.partition(".so")[0] + ".so", library)
    return found


def storage(configuration: Configuration) -> Advice:
    """Another plugin that owns the storage area."""
    if configuration.deferred_delete is not None:
        conflict = storage_conflict(configuration.document, set(plugins(configuration)))
        if conflict:
            yield f"{conflict} (Orthanc takes the one that it loads first)"


def python_plugin(configuration: Configuration) -> Advice:
    """Whether Orthanc loads the Python plugin, and which Python that embeds."""
    library = plugins(configuration).get(PYTHON_PLUGIN)
    if library is None:
        yield (
            f"Plugins: names no {PYTHON_PLUGIN}: the bundle would not be loaded: "
            f'expected "/usr/share/orthanc/plugins/{PYTHON_PLUGIN}" there'
        )
        return
    if not library.exists():
        yield f"Plugins: {library} is not there: expected the package orthanc-python"
        return
    numbers = re.search(r"\.so\.(\d+)\.(\d+)", library.resolve().name)
    threads = configuration.document.get("Python", {})
    allowed = isinstance(threads, dict) and threads.get("AllowThreads") is True
    if numbers and (int(numbers[1]), int(numbers[2])) >= (4, 3) and not allowed:
        yield (
            "Python.AllowThreads: not true: with this Python plugin callbacks hold up one another: "
            'add "Python": {"AllowThreads": true}'
        )
    bundle = _script(configuration)
    embedded = sorted({found.decode() for found in _EMBEDDED.findall(library.read_bytes())})
    if bundle is not None and len(embedded) == 1 and not _libraries(bundle.parents[1], embedded[0]).is_dir():
        yield (
            f"PythonScript: {bundle.parents[1]} has no libraries for Python {embedded[0]}, which this Orthanc "
            "embeds: it would refuse to start"
        )


def python_script(configuration: Configuration) -> Advice:
    """Whether "PythonScript" names the bundle."""
    named = configuration.document.get("PythonScript")
    if not named:
        yield "PythonScript: not there: the bundle would not be loaded: expected the path of its plugin/main.py"
        return
    script = _script(configuration)
    if script is None:
        yield (
            f"PythonScript: {named}: not the bundle's plugin/main.py: its sections would do nothing, unless that "
            "script loads it"
        )
    elif not Path(str(named)).is_absolute():
        yield f"PythonScript: {named}: relative to the folder in which Orthanc is started: expected an absolute path"


def grace_period(configuration: Configuration) -> Advice:
    """A limit on the archive's size, with a grace period that keeps deleted files."""
    deletion = configuration.deferred_delete
    limited = [key for key in ("MaximumStorageSize", "MaximumPatientCount") if configuration.document.get(key)]
    if deletion is not None and limited and deletion.grace_period >= LONG_GRACE_S:
        yield (
            f"DeferredDelete.GracePeriod: {deletion.grace_period:g}: with {limited[0]} the files of recycled "
            "patients keep their place on the disk until the grace period ends: "
            "expected room for what arrives in that time, or a shorter one"
        )


def network_disk(configuration: Configuration) -> Advice:
    """Storage or ledger on a disk behind a network."""
    deletion = configuration.deferred_delete
    if deletion is None:
        return
    kind = kind_of(configuration.storage_root)
    if is_remote(kind) and deletion.workers == 1:
        yield (
            f"StorageDirectory: {configuration.storage_root}: on a network disk ({kind}) one worker waits for each "
            "unlink: expected Workers of 4 or more"
        )
    ledger = kind_of(configuration.ledger_path.parent)
    if is_remote(ledger):
        expected = (
            f"move it to {configuration.new_ledger_path} while Orthanc is stopped"
            if configuration.keeps_ledger_elsewhere
            else "expected a path on a disk of this machine"
        )
        yield (
            f"DeferredDelete.Path: {configuration.ledger_path}: a ledger on a network disk ({ledger}) can be "
            f"damaged, because SQLite's write-ahead log needs shared memory: {expected}"
        )


def folders(configuration: Configuration) -> Advice:
    """A ledger in a folder that is not there."""
    deletion = configuration.deferred_delete
    if deletion is not None and deletion.path and not configuration.ledger_path.parent.is_dir():
        yield f"DeferredDelete.Path: {configuration.ledger_path}: no such folder here: Orthanc would not start"


def ledger(configuration: Configuration) -> Advice:
    """A ledger that this version would refuse.

    Its header is read without SQLite, because Orthanc may have it open.
    """
    if configuration.deferred_delete is None or not configuration.ledger_path.is_file():
        return
    path = configuration.ledger_path
    with path.open("rb") as file:
        header = file.read(100)
    if len(header) < 100 or struct.unpack_from(">I", header, 68) != (APPLICATION_ID,):
        yield f"DeferredDelete.Path: {path}: not a ledger of this bundle: Orthanc would not start"
        return
    (version,) = struct.unpack_from(">I", header, 60)
    if version > SCHEMA_VERSION:
        yield (
            f"DeferredDelete.Path: {path}: schema version {version}, written by a newer bundle: this one takes up to "
            f"{SCHEMA_VERSION}, and Orthanc would not start"
        )


def ports(configuration: Configuration) -> Advice:
    """Ports that cannot be used, and an HTTP server that is off."""
    core = configuration.core
    on = {"HttpPort": core.http_server_enabled, "DicomPort": core.dicom_server_enabled}
    numbers = {"HttpPort": core.http_port, "DicomPort": core.dicom_port}
    for key, number in numbers.items():
        if on[key] and not 0 < number < 65536:
            yield f"{key}: {number}: expected 1 to 65535"
    if all(on.values()) and core.http_port == core.dicom_port:
        yield f"HttpPort: {core.http_port}: the same as DicomPort: expected two ports"
    if not core.http_server_enabled and configuration.enabled:
        yield "HttpServerEnabled: false: neither the bundle's page nor its routes and metrics can be reached"


def client_certificates(configuration: Configuration) -> Advice:
    """Client certificates that Orthanc asks for: the bundle has none."""
    lost = lost_without_certificate(configuration)
    if lost:
        yield lost


def overwriting(configuration: Configuration) -> Advice:
    """Instances that are sent again, with a grace period that keeps their old files."""
    deletion = configuration.deferred_delete
    overwrite = configuration.document.get("OverwriteInstances")
    if deletion is not None and overwrite and overwrite != "Never" and deletion.grace_period >= LONG_GRACE_S:
        yield (
            f"OverwriteInstances: {json.dumps(overwrite)}: an instance that is sent again keeps its old files for the "
            f"grace period ({deletion.grace_period:g} s): expected room for both"
        )


def losses(configuration: Configuration) -> Advice:
    """Lossy rules that apply to restored studies too, since those come over HTTP."""
    transcoder = configuration.ingest_transcoder
    if configuration.deferred_delete is None or transcoder is None:
        return
    for number, rule in enumerate(transcoder.rules):
        origins = (rule.origin,) if isinstance(rule.origin, str) else rule.origin
        if rule.lossy is not None and (origins is None or "http" in origins):
            yield (
                f"IngestTranscoder.Rules[{number}].Lossy: a deleted study that is brought back comes over HTTP and "
                'would lose something then: expected "Origin": "cstore", or another without http'
            )


WARNINGS: tuple[Callable[[Configuration], Advice], ...] = (
    python_script,
    python_plugin,
    storage,
    folders,
    ledger,
    network_disk,
    grace_period,
    overwriting,
    losses,
    ports,
    client_certificates,
)


def _script(configuration: Configuration) -> Path | None:
    """The bundle's main.py that "PythonScript" names, if it is one."""
    named = configuration.document.get("PythonScript")
    if not isinstance(named, str) or not named:
        return None
    path = Path(named).absolute()
    return path if path.parts[-2:] == ("plugin", "main.py") and (path.parent / "bundle.py").is_file() else None


def _libraries(bundle: Path, python: str) -> Path:
    return bundle / "env" / "lib" / f"python{python}" / "site-packages"
