"""Starts the bundle with a recording SDK and a temporary storage folder, to see what it would register."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import msgspec

from ..bundle import Bundle
from ..config import DELAYED_DELETION, Configuration


class Rehearsal(NamedTuple):
    """What the start would register.

    Attributes:
        callbacks: functions of the SDK, in the order in which they are called.
        routes: method, path and summary of each.
    """

    callbacks: list[str]
    routes: list[str]


class _RecordedName:
    """A name of the SDK: a function that records its calls, or an enumeration with numbers of its own."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self._name = name
        self._calls = calls
        self._values: dict[str, int] = {}

    def __call__(self, *_: Any, **__: Any) -> None:
        self._calls.append(self._name)

    def __getattr__(self, value: str) -> int:
        if value.startswith("__"):
            raise AttributeError(value)
        return self._values.setdefault(value, len(self._values))


class RecordingSdk(ModuleType):
    """An SDK that has every name. What the real one lacks is found only when Orthanc starts."""

    def __init__(self) -> None:
        super().__init__("recording")
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _RecordedName(name, self.calls)
        setattr(self, name, made)
        return made


def rehearse(configuration: Configuration) -> Rehearsal:
    """Starts the bundle up to its registrations.

    The archive is not touched: storage folder, index and ledger are replaced by empty ones, and a database of
    the C++ plugin is not taken over.

    Raises:
        ConfigurationError, DeferredDeleteError: as the start would.
    """
    with tempfile.TemporaryDirectory(prefix="ingest-bundle-check-") as scratch:
        sdk = RecordingSdk()
        bundle = Bundle(sdk, _in_folder(configuration, Path(scratch)))
        try:
            bundle.register()
            routes = [f"{route.method} {route.path}: {route.summary}" for route in bundle.routes()]
        finally:
            bundle.stopped()
    return Rehearsal([call for call in sdk.calls if call.startswith("Register")], routes)


def _in_folder(configuration: Configuration, scratch: Path) -> Configuration:
    core = msgspec.structs.replace(configuration.core, storage_directory=str(scratch), index_directory="")
    deletion = configuration.deferred_delete
    return msgspec.structs.replace(
        configuration,
        core=core,
        folder=scratch,
        document={key: value for key, value in configuration.document.items() if key != DELAYED_DELETION},
        deferred_delete=None if deletion is None else msgspec.structs.replace(deletion, path=""),
    )
