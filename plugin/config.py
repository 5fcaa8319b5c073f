"""The bundle's sections of orthanc.json, read strictly: what is not understood stops the start, in one line."""

from __future__ import annotations

import difflib
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from association import settings as association_settings
from deferred_delete import LEDGER_NAME, ledger_place
from deferred_delete import settings as deferred_delete_settings
from guard import settings as guard_settings
from timing import settings as timing_settings
from transcoder import settings as transcoder_settings
from transcoder.policy import policy as transcoder_policy

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "DeferredDelete": deferred_delete_settings.Settings,
    "IngestTranscoder": transcoder_settings.Settings,
    "IngestGuard": guard_settings.Settings,
    "StageTiming": timing_settings.Settings,
    "DicomAssociations": association_settings.Settings,
}
DELAYED_DELETION = "DelayedDeletion"
# Keys that belong to Orthanc itself and only look like a misspelling of ours.
_NOT_OURS = {"IngestTranscoding", "IngestTranscodingOfUncompressed", "IngestTranscodingOfCompressed", DELAYED_DELETION}
_UNKNOWN_FIELD = re.compile(r"^Object contains unknown field `(?P<key>.*?)`(?: - at `\$(?P<path>.*?)`)?$", re.DOTALL)
_BAD_VALUE = re.compile(r"^(?P<expected>.*?)(?: - at `\$(?P<path>.*?)`)?$", re.DOTALL)
_PATH_STEP = re.compile(r"\.(?P<key>[^.\[]+)|\[(?P<index>\d+)\]")


class ConfigurationError(Exception):
    """A key or a value that the bundle does not take; the message is one line: key, value, what is expected."""


class CoreSettings(msgspec.Struct, rename="pascal", frozen=True, kw_only=True):
    """Orthanc's own options that the bundle honours; defaults are Orthanc's."""

    storage_directory: str = "OrthancStorage"
    index_directory: str = ""
    sync_storage_area: bool = True
    storage_compression: bool = False
    dicom_port: int = 4242
    dicom_server_enabled: bool = True
    http_server_enabled: bool = True
    http_port: int = 8042
    ssl_enabled: bool = False
    ssl_verify_peers: bool = False
    ingest_transcoding: str = ""
    malloc_arena_max: int = 5


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """What one Orthanc is to do; a section that is off is None."""

    core: CoreSettings
    folder: Path
    document: dict[str, Any]
    deferred_delete: deferred_delete_settings.Settings | None = None
    ingest_transcoder: transcoder_settings.Settings | None = None
    ingest_guard: guard_settings.Settings | None = None
    stage_timing: timing_settings.Settings | None = None
    dicom_associations: association_settings.Settings | None = None

    def resolve(self, path: str) -> Path:
        """A path of orthanc.json as Orthanc itself takes it: relative to the configuration file's folder."""
        return self.folder / path

    @property
    def storage_root(self) -> Path:
        """Orthanc's storage folder."""
        return self.resolve(self.core.storage_directory)

    @property
    def ledger_path(self) -> Path:
        """The ledger of pending deletions: as configured, else the one that is there already, else beside Orthanc's own index.

        Raises:
            LedgerRefusedError: none is configured and there are two.
        """
        assert self.deferred_delete is not None
        if self.deferred_delete.path:
            return self.resolve(self.deferred_delete.path)
        earlier = [self.storage_root / LEDGER_NAME]
        if self.delayed_deletion_path is not None:  # made while the C++ plugin's section alone was there
            earlier.append(Path(deferred_delete_settings.ledger_of(str(self.delayed_deletion_path))))
        return ledger_place(self.new_ledger_path, *earlier)

    @property
    def new_ledger_path(self) -> Path:
        """Where a ledger is made if none is configured: beside Orthanc's own index, which does not like network disks either."""
        return self.index_path.with_name(LEDGER_NAME)

    @property
    def keeps_ledger_elsewhere(self) -> bool:
        """Whether the ledger is one that was found, not where a new one would be."""
        assert self.deferred_delete is not None
        return not self.deferred_delete.path and self.ledger_path != self.new_ledger_path

    @property
    def index_path(self) -> Path:
        """Orthanc's SQLite index: in IndexDirectory, by default the storage folder."""
        return (self.resolve(self.core.index_directory) if self.core.index_directory else self.storage_root) / "index"

    @property
    def delayed_deletion_path(self) -> Path | None:
        """The C++ plugin's database where its section names one."""
        section = self.document.get(DELAYED_DELETION)
        path = section.get("Path") if isinstance(section, dict) else None
        return self.resolve(path) if path else None

    @property
    def modality_ports(self) -> set[int]:
        """TCP ports of the modalities that Orthanc sends to, as far as orthanc.json names them (DicomModalities)."""
        return modality_ports(self.document.get("DicomModalities"))

    @property
    def enabled(self) -> list[str]:
        """The names of the sections that are on."""
        values = (
            self.deferred_delete,
            self.ingest_transcoder,
            self.ingest_guard,
            self.stage_timing,
            self.dicom_associations,
        )
        return [name for name, value in zip(SECTIONS, values, strict=True) if value is not None]


def modality_ports(modalities: Any) -> set[int]:
    """TCP ports of modalities, as DicomModalities or GET /modalities?expand names them.

    Each is a list (AE title, host, port, ...) or an object with a Port; ports may be written as text. What is neither
    is left out.
    """
    found = set()
    for entry in modalities.values() if isinstance(modalities, dict) else ():
        port = (
            entry.get("Port")
            if isinstance(entry, dict)
            else entry[2]
            if isinstance(entry, list) and len(entry) > 2
            else None
        )
        if str(port).isdecimal():
            found.add(int(str(port)))
    return found


def configuration_folder(configuration_path: str, arguments: list[str]) -> Path:
    """The folder that relative paths of the configuration belong to, as the core resolves them.

    Args:
        configuration_path: the SDK's GetConfigurationPath. For a folder, as Debian's service gives one, it names the
            folder's *parent* (or the folder, if it was given with a slash at its end), so that it tells nothing.
        arguments: Orthanc's command line without the program's name.
    """
    path = Path(configuration_path).absolute()
    if configuration_path and path.is_file():
        return path.parent
    folders = [
        Path(argument).absolute() for argument in arguments if not argument.startswith("-") and Path(argument).is_dir()
    ]
    return folders[-1] if folders else Path.cwd()


def parse(text: str, folder: Path) -> Configuration:
    """Reads Orthanc's whole configuration as its SDK gives it.

    Args:
        text: JSON, all files of the configuration merged, without comments.
        folder: what relative paths belong to, see `configuration_folder`.

    Raises:
        ConfigurationError: an unknown key, a wrong type, a bad value, or two sections that exclude each other.
    """
    document = json.loads(text)
    _refuse_misspelt_sections(document)
    core = _convert("", document, CoreSettings)
    sections = {name: _section(document, name) for name in SECTIONS}
    deferred_delete = sections["DeferredDelete"] or _delayed_deletion(document, "DeferredDelete" in document)
    transcoder = sections["IngestTranscoder"]
    if transcoder is not None:
        _check_transcoder(core, transcoder)
    return Configuration(
        core=core,
        document=document,
        folder=folder,
        deferred_delete=deferred_delete,
        ingest_transcoder=transcoder,
        ingest_guard=sections["IngestGuard"],
        stage_timing=sections["StageTiming"],
        dicom_associations=sections["DicomAssociations"],
    )


def _check_transcoder(core: CoreSettings, settings: transcoder_settings.Settings) -> None:
    if core.ingest_transcoding:
        raise ConfigurationError(
            f"IngestTranscoding: {core.ingest_transcoding!r}: Orthanc's own ingest transcoding and IngestTranscoder "
            "are both on, "
            "expected one: remove IngestTranscoding, or set IngestTranscoder.Enable to false"
        )
    try:
        transcoder_policy.check(settings)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _section(document: dict[str, Any], name: str) -> Any:
    """The typed section, or None where it is absent or switched off; a section that is off is still checked."""
    if name not in document:
        return None
    settings: Any = _convert(name, document[name], SECTIONS[name])
    return settings if settings.enable else None


def _delayed_deletion(document: dict[str, Any], own_section: bool) -> Any:
    """Settings from the C++ plugin's section: whoever moves from it changes nothing. Our own section, even off, has the last word."""
    if own_section or DELAYED_DELETION not in document:
        return None
    section = _convert(DELAYED_DELETION, document[DELAYED_DELETION], deferred_delete_settings.DelayedDeletionSettings)
    return section.as_settings() if section.enable else None


def _convert(section: str, value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError(_explain(section, value, kind, str(error))) from None


def _explain(section: str, value: Any, kind: type[Any], message: str) -> str:
    """Msgspec's message as key, value, what is expected, the nearest known key."""
    unknown = _UNKNOWN_FIELD.match(message)
    if unknown:
        key = unknown["key"]
        known = sorted(known_keys(kind))
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        return f"{section}{unknown['path'] or ''}.{key}: unknown key: {hint}"
    bad = _BAD_VALUE.match(message)
    assert bad is not None
    path = bad["path"] or ""
    expected = bad["expected"].replace("`", "")
    shown = json.dumps(_at(value, path), ensure_ascii=False)
    return f"{(section + path).lstrip('.')}: {shown[:80]}: {expected[:1].lower()}{expected[1:]}"


def _at(value: Any, path: str) -> Any:
    """The value that msgspec's path (`.Rules[2].Action`) points to, as far as it can be followed."""
    for step in _PATH_STEP.finditer(path):
        try:
            value = value[step["key"]] if step["key"] else value[int(step["index"])]
        except (KeyError, IndexError, TypeError):
            break
    return value


def known_keys(kind: type[Any]) -> set[str]:
    """Every key that a section or a structure inside it takes, as written in orthanc.json."""
    keys: set[str] = set()

    def visit(node: Any) -> None:
        if isinstance(node, msgspec.inspect.StructType):
            for field in node.fields:
                keys.add(field.encode_name)
                visit(field.type)
        for name in ("item_type", "type"):
            if hasattr(node, name):
                visit(getattr(node, name))
        for name in ("types", "item_types"):
            for inner in getattr(node, name, ()):
                visit(inner)

    visit(msgspec.inspect.type_info(kind))
    return keys


def _refuse_misspelt_sections(document: dict[str, Any]) -> None:
    """A misspelt section would be silently off, which nobody would notice before the disk is full or the night is long."""
    for key in document:
        if key in SECTIONS or key in _NOT_OURS:
            continue
        near = difflib.get_close_matches(key, SECTIONS, n=1, cutoff=0.85)
        if near:
            raise ConfigurationError(f"{key}: unknown section: did you mean {near[0]!r}?")
