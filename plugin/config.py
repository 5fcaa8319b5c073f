"""Reads the bundle's sections of orthanc.json, and the options of Orthanc's own that the bundle honours."""

from __future__ import annotations

import difflib
import json
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

from .validation import ConfigurationError, convert

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "DeferredDelete": deferred_delete_settings.Settings,
    "IngestTranscoder": transcoder_settings.Settings,
    "IngestGuard": guard_settings.Settings,
    "StageTiming": timing_settings.Settings,
    "DicomAssociations": association_settings.Settings,
}
DELAYED_DELETION = "DelayedDeletion"
# Orthanc's own keys that look like a misspelt section of ours.
_SIMILAR_KEYS = {
    "IngestTranscoding",
    "IngestTranscodingOfUncompressed",
    "IngestTranscodingOfCompressed",
    DELAYED_DELETION,
}


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
    """Orthanc's configuration as the bundle reads it; a section that is off is None."""

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
        """Where the ledger of pending deletions is.

        As configured, else the one that is there already, else beside Orthanc's own index.

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
        """Where a ledger is made if none is configured.

        Beside Orthanc's own index: that is a SQLite database too, and kept off network disks for the same reasons.
        """
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
    ports = [str(_port(entry)) for entry in (modalities.values() if isinstance(modalities, dict) else ())]
    return {int(port) for port in ports if port.isdecimal()}


def _port(entry: Any) -> Any:
    if isinstance(entry, dict):
        return entry.get("Port")
    return entry[2] if isinstance(entry, list) and len(entry) > 2 else None


def configuration_folder(configuration_path: str, arguments: list[str]) -> Path:
    """The folder that relative paths of the configuration belong to, as the core resolves them.

    Args:
        configuration_path: the SDK's GetConfigurationPath. For a folder, which Debian's service gives, it
            names the folder's *parent*, or the folder if it was given with a slash at its end. Of several, which
            Orthanc takes from 1.13 on, it names the first.
        arguments: Orthanc's command line without the program's name.
    """
    path = Path(configuration_path).absolute()
    if configuration_path and path.is_file():
        return path.parent
    folders = [
        Path(argument).absolute() for argument in arguments if not argument.startswith("-") and Path(argument).is_dir()
    ]
    return next((folder for folder in folders if path in (folder, folder.parent)), Path.cwd())


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
    core = convert("", document, CoreSettings)
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
            "are both on, expected one: remove IngestTranscoding, or set IngestTranscoder.Enable to false"
        )
    try:
        transcoder_policy.check(settings)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


def _section(document: dict[str, Any], name: str) -> Any:
    """The typed section, or None where it is absent or switched off; a section that is off is still checked."""
    if name not in document:
        return None
    settings: Any = convert(name, document[name], SECTIONS[name])
    return settings if settings.enable else None


def _delayed_deletion(document: dict[str, Any], own_section: bool) -> Any:
    """Settings from the C++ plugin's section, so that whoever moves from it need not change anything.

    A section of our own is used instead, even if it is off.
    """
    if own_section or DELAYED_DELETION not in document:
        return None
    section = convert(DELAYED_DELETION, document[DELAYED_DELETION], deferred_delete_settings.DelayedDeletionSettings)
    return section.as_settings() if section.enable else None


def _refuse_misspelt_sections(document: dict[str, Any]) -> None:
    """Without this a misspelt section would be off, and nothing would tell the operator."""
    for key in document:
        if key in SECTIONS or key in _SIMILAR_KEYS:
            continue
        near = difflib.get_close_matches(key, SECTIONS, n=1, cutoff=0.85)
        if near:
            raise ConfigurationError(f"{key}: unknown section: did you mean {near[0]!r}?")
